"""A channel that is consumed on, and what comes in by it."""

from collections.abc import Callable
from typing import Final

import aiormq
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic
from pamqp.frame import marshal, unmarshal
from pamqp.header import ContentHeader

from infra.rabbitmq.incoming import HEADER, INDEX, METHOD, PAYLOAD
from infra.rabbitmq.stream import Stream
from replicated_log.delivery import Envelope

_DELIVER: Final = bytes((0, 60, 0, 60))


class Received:
    """A delivery as it came in; to be settled once it is finished with."""

    __slots__ = ("_inbound", "_tag", "envelope")

    def __init__(self, inbound: "Inbound", tag: int, envelope: Envelope) -> None:
        self._inbound = inbound
        self._tag = tag
        self.envelope = envelope

    def settle_up_to(self) -> None:
        """Settle this delivery and every earlier one of its session. On a session that is over, nothing happens."""
        self._inbound.settle_up_to(self._tag)


class Inbound:
    """A channel that is consumed on: puts a delivery's frames together, and hands it over in the turn they come in.

    Whatever belongs to no delivery, and what can't be read, is left to aiormq's channel.
    """

    def __init__(self, channel: aiormq.Channel, stream: Stream) -> None:
        self._channel = channel
        self._stream = stream
        self._receivers: dict[str, Callable[[Received], None]] = {}
        self._deliver: Basic.Deliver | None = None
        self._header = ContentHeader()
        self._pieces: list[bytes] = []
        self._missing = 0
        stream.incoming.take(channel.number, self._take)

    async def consume(self, queue: str, receive: Callable[[Received], None], *, settled: bool) -> None:
        async def never(_: DeliveredMessage) -> None:
            raise AssertionError("aiormq sees no delivery")

        self._receivers[queue] = receive
        await self._channel.basic_consume(queue, never, no_ack=settled, exclusive=True, consumer_tag=queue)

    def settle_up_to(self, tag: int) -> None:
        if not self._channel.is_closed:
            # PREFETCH bounds how many can wait.
            self._stream.write(lambda: marshal(Basic.Ack(tag, multiple=True), self._channel.number))

    def _take(self, kind: int, frame: memoryview) -> bool:
        try:
            if kind == METHOD:
                return self._begin(frame)
            if self._deliver is None:
                return False
            if kind == HEADER:
                _, _, header = unmarshal(bytes(frame))
                assert isinstance(header, ContentHeader)
                self._header, self._missing, self._pieces = header, header.body_size, []
            else:
                self._pieces.append(bytes(frame[PAYLOAD]))
                self._missing -= len(self._pieces[-1])
        except Exception:  # noqa: BLE001 - aiormq reads it too, says what is wrong, and ends the connection
            return False
        if self._missing <= 0:
            self._hand_over(self._deliver)
        return True

    def _begin(self, frame: memoryview) -> bool:
        if bytes(frame[INDEX]) != _DELIVER:
            return False
        _, _, deliver = unmarshal(bytes(frame))
        assert isinstance(deliver, Basic.Deliver)
        self._deliver = deliver
        return True

    def _hand_over(self, deliver: Basic.Deliver) -> None:
        tag, queue = deliver.delivery_tag, deliver.consumer_tag
        assert tag is not None
        assert queue is not None
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._deliver, self._pieces = None, []
        self._receivers[queue](Received(self, tag, _envelope(self._header, body)))


def _envelope(header: ContentHeader, body: bytes) -> Envelope:
    properties = header.properties
    return Envelope(
        kind=properties.message_type or "",
        body=body,
        headers=properties.headers or {},
        message_id=properties.message_id,
        correlation_id=properties.correlation_id,
        reply_to=properties.reply_to,
    )
