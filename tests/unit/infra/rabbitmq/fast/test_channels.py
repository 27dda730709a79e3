"""What becomes of the frames that come in on a channel: deliveries, and confirms of what was published."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from infra.rabbitmq.fast.frames import HEADER, METHOD, frame
from infra.rabbitmq.fast.inbound import FastInbound, FastReceived
from infra.rabbitmq.fast.outbound import FastOutbound
from infra.rabbitmq.fast.stream import Stream
from replicated_log.wire.delivery import Envelope

CHANNEL = 1


@dataclass
class FakeChannel:
    """As much of aiormq's as is asked for: the channel itself is the broker's and aiormq's own matter."""

    number: int = CHANNEL
    max_content_size: int = 100
    publisher_confirms: bool = True
    is_closed: bool = False

    async def basic_consume(self, queue: str, *_: object, consumer_tag: str, **__: object) -> None:
        assert consumer_tag == queue


@dataclass
class Receiving:
    """A channel that is consumed on, and what it has handed over."""

    stream: Stream = field(default_factory=Stream)
    received: list[FastReceived] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    async def begin(self) -> None:
        channel: Any = FakeChannel()
        inbound = FastInbound(channel, self.stream, self.faults.append)
        await inbound.consume("queue", self.received.append, settled=False)

    def feed(self, *frames: bytes) -> None:
        self.stream.incoming.feed_data(b"".join(frames))

    @property
    def bodies(self) -> list[tuple[str, bytes]]:
        return [(received.envelope.kind, received.envelope.body) for received in self.received]


def delivery(number: int, *pieces: bytes, kind: str = "beat") -> list[bytes]:
    header = ContentHeader(body_size=sum(map(len, pieces)), properties=Basic.Properties(message_type=kind))
    frames: list[Any] = [Basic.Deliver("queue", number, False, "exchange", ""), header, *map(ContentBody, pieces)]
    return [marshal(one, CHANNEL) for one in frames]


async def test_a_delivery_is_put_together_of_its_pieces() -> None:
    receiving = Receiving()
    await receiving.begin()
    receiving.feed(*delivery(1, b"abc"), *delivery(2), *delivery(3, b"x" * 100, b"y" * 100, b"z", kind="batch"))
    assert receiving.bodies == [("beat", b"abc"), ("beat", b""), ("batch", b"x" * 100 + b"y" * 100 + b"z")]
    assert receiving.faults == []


async def test_a_delivery_whose_properties_make_no_sense_is_of_no_kind_and_others_come_as_they_are() -> None:
    receiving = Receiving()
    await receiving.begin()
    deliver, header, *pieces = delivery(2, b"xy", b"z")
    no_text = b"\0\x20" + b"\1\xff"  # The type, in one byte that is no UTF-8.
    senseless = frame(HEADER, CHANNEL, header[7:19] + no_text)
    receiving.feed(*delivery(1, b"abc"), deliver, senseless, *pieces, *delivery(3, b"def"))
    (_, (kind, body), _) = receiving.bodies
    assert receiving.bodies[::2] == [("beat", b"abc"), ("beat", b"def")]
    assert "unreadable" in kind
    assert body == b"xyz"
    assert receiving.faults == []


@pytest.mark.parametrize("spoilt", [0, 1])
async def test_frames_that_make_no_delivery_are_told(spoilt: int) -> None:
    receiving = Receiving()
    await receiving.begin()
    frames = delivery(1, b"abc")
    kind = METHOD if spoilt == 0 else HEADER
    frames[spoilt] = frame(kind, CHANNEL, frames[spoilt][7:13])
    receiving.feed(*frames[: spoilt + 1])
    assert len(receiving.faults) == 1


@dataclass
class Publishing:
    """A channel that is published on, and what its confirms have told."""

    stream: Stream = field(default_factory=Stream)
    told: list[tuple[int, bool]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        channel: Any = FakeChannel()
        self.outbound = FastOutbound(channel, self.stream, self.faults.append)

    def publish(self, count: int) -> None:
        for number in range(1, count + 1):
            self.outbound.publish("exchange", Envelope("beat", b""), partial(self.tell, number))

    def tell(self, number: int, taken: bool) -> None:
        self.told.append((number, taken))

    def feed(self, *confirms: Basic.Ack | Basic.Nack) -> None:
        self.stream.incoming.feed_data(b"".join(marshal(confirm, CHANNEL) for confirm in confirms))


async def test_each_confirm_is_told_once_to_those_it_is_of() -> None:
    publishing = Publishing()
    publishing.publish(6)
    publishing.feed(Basic.Ack(2), Basic.Nack(1))
    assert publishing.told == [(2, True), (1, False)]
    publishing.feed(Basic.Ack(4, multiple=True), Basic.Ack(4), Basic.Ack(99))
    assert publishing.told[2:] == [(3, True), (4, True)]
    publishing.feed(Basic.Nack(6, multiple=True))
    assert publishing.told[4:] == [(5, False), (6, False)]


async def test_nobody_is_told_after_the_session() -> None:
    publishing = Publishing()
    publishing.publish(1)
    publishing.outbound.forget()
    publishing.feed(Basic.Ack(1))
    assert publishing.told == []


async def test_a_confirm_that_makes_no_sense_is_told() -> None:
    publishing = Publishing()
    publishing.stream.incoming.feed_data(frame(METHOD, CHANNEL, bytes((0, 60, 0, 80, 1))))
    assert len(publishing.faults) == 1
