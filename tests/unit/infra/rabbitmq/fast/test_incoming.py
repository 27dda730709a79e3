"""Frames that are taken out of a connection's stream, and those that are left in it."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from infra.rabbitmq.fast.frames import BODY, HEADER, HEARTBEAT, METHOD, frame
from infra.rabbitmq.fast.incoming import Incoming

TAKEN = frame(METHOD, 1, b"deliver"), frame(HEADER, 1, b"size"), frame(BODY, 1, b"x" * 300)
LEFT = frame(METHOD, 0, b"tune"), frame(METHOD, 2, b"declare-ok"), frame(METHOD, 1, b"cancel"), frame(HEARTBEAT, 0, b"")
ALIVE = frame(HEARTBEAT, 0, b"")


@dataclass
class Taker:
    """Takes all frames but ``cancel``."""

    taken: list[tuple[int, bytes]] = field(default_factory=list)

    def take(self, kind: int, payload: bytes) -> bool:
        if payload == b"cancel":
            return False
        self.taken.append((kind, payload))
        return True


def of(*frames: bytes) -> bytes:
    return b"".join(frames)


async def read_so_far(incoming: Incoming) -> bytes:
    incoming.feed_eof()
    return await incoming.read()


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 50, 311, 10_000])
async def test_frames_are_taken_and_left_in_order_however_they_come_in(size: int) -> None:
    incoming, taker = Incoming(), Taker()
    incoming.take(1, taker.take)
    stream = of(LEFT[0], *TAKEN, LEFT[1], LEFT[2], *TAKEN, *LEFT)
    for piece in pieces(stream, size):
        incoming.feed_data(piece)
    assert taker.taken == [(METHOD, b"deliver"), (HEADER, b"size"), (BODY, b"x" * 300)] * 2
    left = await read_so_far(incoming)
    assert left.replace(ALIVE, b"") == of(LEFT[0], LEFT[1], LEFT[2], *LEFT[:3])


async def test_a_frame_is_taken_in_the_turn_in_which_it_comes() -> None:
    incoming, taker = Incoming(), Taker()
    incoming.take(1, taker.take)
    incoming.feed_data(of(*TAKEN)[:-1])
    assert len(taker.taken) == 2
    incoming.feed_data(TAKEN[-1][-1:])
    assert len(taker.taken) == 3


async def test_who_reads_the_rest_sees_that_the_connection_lives_but_not_all_the_time() -> None:
    incoming, taker = Incoming(), Taker()
    incoming.take(1, taker.take)
    for _ in range(1000):
        incoming.feed_data(of(*TAKEN))
    assert await read_so_far(incoming) in {ALIVE, ALIVE * 2}


async def test_what_is_no_amqp_is_left_as_it_is() -> None:
    incoming, taker = Incoming(), Taker()
    incoming.take(1, taker.take)
    incoming.feed_data(b"AMQP\0\0\x09\x01")
    incoming.feed_data(of(LEFT[0]))
    assert await read_so_far(incoming) == b"AMQP\0\0\x09\x01" + LEFT[0]


async def test_a_reader_waits_for_what_is_left_only() -> None:
    incoming, taker = Incoming(), Taker()
    incoming.take(1, taker.take)
    incoming.feed_data(of(*TAKEN))
    assert await incoming.readexactly(len(ALIVE)) == ALIVE
    waits = asyncio.create_task(incoming.readexactly(len(LEFT[1])))
    incoming.feed_data(of(*TAKEN))
    incoming.feed_data(LEFT[1])
    assert await waits == LEFT[1]
