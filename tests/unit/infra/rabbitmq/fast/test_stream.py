"""Writing to a broker that takes nothing for a while."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from yarl import URL

from infra.rabbitmq.fast.stream import Stream
from tests.cluster import PATIENCE_S, eventually

PIECE_BYTES = 1 << 20
PIECES = 40
"""More than all the buffers in between take."""


@asynccontextmanager
async def streaming() -> AsyncIterator[tuple[Stream, asyncio.StreamReader]]:
    """A stream, and what its other end reads."""
    taken: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    server = await asyncio.start_server(lambda *ends: taken.put_nowait(ends), "127.0.0.1", 0)
    (port,) = {one.getsockname()[1] for one in server.sockets}
    stream = Stream()
    await stream.create(URL(f"amqp://127.0.0.1:{port}/"), ssl_context_provider=None)
    reader, writer = await taken.get()
    try:
        yield stream, reader
    finally:
        stream.abort()
        writer.transport.abort()
        server.close()
        await server.wait_closed()


def piece(number: int) -> bytes:
    return bytes((number,)) * PIECE_BYTES


async def test_what_has_to_wait_is_made_and_written_when_there_is_room_in_order() -> None:
    made: list[int] = []

    def make(number: int) -> bytes:
        made.append(number)
        return piece(number)

    async with streaming() as (stream, reader):
        for number in range(PIECES):
            stream.write(partial(make, number))
        assert len(made) < PIECES
        assert not stream.write_now(lambda: piece(PIECES))
        async with asyncio.timeout(PATIENCE_S):
            for number in range(PIECES):
                assert await reader.readexactly(PIECE_BYTES) == piece(number)
        assert made == list(range(PIECES))
        await eventually(lambda: stream.write_now(lambda: b"at once"), "there is room again")
        assert await reader.readexactly(7) == b"at once"


async def test_who_waits_until_something_is_written_waits_for_just_that() -> None:
    async with streaming() as (stream, reader):
        for number in range(PIECES):
            stream.write(partial(piece, number))
        waits = asyncio.create_task(stream.written(lambda: b"mine"))
        async with asyncio.timeout(PATIENCE_S):
            for number in range(PIECES // 2):
                assert await reader.readexactly(PIECE_BYTES) == piece(number)
            assert not waits.done()  # Though there has been room again and again, it was for others.
            for number in range(PIECES // 2, PIECES):
                assert await reader.readexactly(PIECE_BYTES) == piece(number)
            assert await reader.readexactly(4) == b"mine"
            await waits


async def test_who_waits_for_room_waits_no_longer_than_the_connection_lasts() -> None:
    async with streaming() as (stream, _):
        for number in range(PIECES):
            stream.write(partial(piece, number))
        waits = asyncio.create_task(stream.written(lambda: b"never"))
        await asyncio.sleep(0)
        stream.abort()
        async with asyncio.timeout(PATIENCE_S):
            await waits
        stream.write(lambda: b"too late")
        assert not stream.write_now(lambda: b"too late")
