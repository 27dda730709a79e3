"""The stream of one connection: it writes whole frames, in order, and takes in what comes."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from aio_pika.exceptions import AMQPConnectionError
from aiormq.connection import TransportFactory
from yarl import URL

from infra.rabbitmq.fast.incoming import Incoming


class Stream(TransportFactory):
    """Makes the stream of one connection for aiormq, as its own factory would, and keeps hold of it.

    There is room for what is written while asyncio's buffer for the connection is below its mark.
    Invariant: while something waits to be written, the connection is up, and there is no room for it.
    """

    def __init__(self) -> None:
        self.incoming = Incoming()
        self._flow = _Flow(self.incoming, self._write_waiting)
        self._waiting: deque[tuple[Callable[[], bytes], asyncio.Future[None] | None]] = deque()
        self._writer: asyncio.StreamWriter | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = kwargs.pop("ssl_context_provider")
        ssl = await context.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        assert url.host is not None
        assert url.port is not None
        try:
            transport, _ = await loop.create_connection(lambda: self._flow, url.host, url.port, ssl=ssl, **kwargs)
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        self._writer = asyncio.StreamWriter(transport, self._flow, self.incoming, loop)
        return self.incoming, self._writer

    def write(self, make_frames: Callable[[], bytes]) -> None:
        """Write whole frames, made when there is room for more; the calls keep their order.

        The caller bounds how many may wait. Once the connection is over, nothing happens.
        """
        self._waiting.append((make_frames, None))
        self._write_waiting()

    def write_now(self, make_frames: Callable[[], bytes]) -> bool:
        """Write whole frames if there is room for more; False: nothing is written."""
        if self._waiting or self._flow.is_paused or self._is_closing:
            return False
        self.write(make_frames)
        return True

    async def written(self, make_frames: Callable[[], bytes]) -> None:
        """As :meth:`write`, and wait until it is, or the connection is over."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((make_frames, written))
        self._write_waiting()
        await written

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()

    def forget(self) -> None:
        """The connection is over: keep nothing in memory that was to be written, nor what takes frames."""
        self.incoming.forget()
        self._write_waiting()

    @property
    def _is_closing(self) -> bool:
        return self._writer is None or self._writer.transport.is_closing()

    def _write_waiting(self) -> None:
        while self._waiting and (self._is_closing or not self._flow.is_paused):
            make_frames, written = self._waiting.popleft()
            if self._writer is not None and not self._is_closing:
                self._writer.write(make_frames())
            if written is not None and not written.done():
                written.set_result(None)


class _Flow(asyncio.StreamReaderProtocol):
    """The stream's protocol. It calls ``changed`` when there is room again, and when the connection is over.

    asyncio's own protocol knows whether there is room, too, but does not show it.
    """

    def __init__(self, reader: asyncio.StreamReader, changed: Callable[[], None]) -> None:
        super().__init__(reader, loop=asyncio.get_running_loop())
        self.is_paused = False
        self._changed = changed

    def pause_writing(self) -> None:
        super().pause_writing()
        self.is_paused = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self.is_paused = False
        self._changed()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._changed()
