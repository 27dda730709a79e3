"""The stream of one connection: where whole frames are written, in order."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from yarl import URL

UNSENT_BYTES: Final = 16 << 10
"""Where less waits to be written, the stream takes more. (It refuses from 64 KiB on until there are 16 again.)"""


class Stream(TransportFactory):
    """Makes the stream of one connection, as aiormq would, and keeps hold of it."""

    _writer: asyncio.StreamWriter | None = None

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        factory = TLSTransportFactory() if url.scheme == "amqps" else TCPTransportFactory()
        reader, self._writer = await factory.create(url, **kwargs)
        return reader, self._writer

    async def write(self, make_frames: Callable[[], bytes]) -> None:
        """Write whole frames, made when there is room for more; the calls keep their order."""
        assert self._writer is not None
        async with self._turn:
            await self._writer.drain()
            self._writer.write(make_frames())

    def write_now(self, make_frames: Callable[[], bytes]) -> bool:
        """Write whole frames if there is room for more, and nobody waits for that; False: nothing is written."""
        assert self._writer is not None
        transport = self._writer.transport
        if self._turn.locked() or transport.is_closing() or transport.get_write_buffer_size() >= UNSENT_BYTES:
            return False
        self._writer.write(make_frames())
        return True

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
