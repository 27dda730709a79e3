"""The library's half of a connection: aiohttp's own protocol, which is given one whole request after the other."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final, Protocol, cast

from aiohttp import StreamReader, web

from infra.http.framing import Framing
from infra.http.problems import Handler

NO_TIMEOUT_S: Final = 1e9
"""For times that the connection itself bounds."""

Bytes = bytes | bytearray | memoryview


class LibraryOwner(Protocol):
    """What the library's half asks of the connection that it belongs to."""

    def request_ended(self, *, is_last: bool) -> None:
        """The answer to the library's request is written, all of it. ``is_last``: the connection is to be closed."""

    def library_closes(self) -> None:
        """The library closes the connection, once all that it has written is sent."""

    def library_releases(self) -> None:
        """What the library has of the request is no longer counted in the budget."""

    def library_reads(self, *, reads: bool) -> None:
        """Whether the library wants more of the body now."""


class LibraryHalf(asyncio.Transport):
    """The transport that aiohttp's protocol is given, and the request that is under way there.

    Invariant: the protocol is given no byte of a request before the answer to the one before is written.
    """

    def __init__(self, owner: LibraryOwner, wire: asyncio.Transport, server: web.Server) -> None:
        super().__init__()
        self.under_way: Framing | None = None
        """Finds the end of the request that the library has; None while it has none."""
        self.held = 0
        """Bytes of that request in memory."""
        self._owner = owner
        self._wire = wire
        self._content: StreamReader | None = None
        self._error: Exception | None = None
        self.protocol: asyncio.Protocol = server()
        self.protocol.connection_made(self)

    @property
    def is_broken(self) -> bool:
        """Whether the body of the request was given up."""
        return self._error is not None

    @property
    def is_body_missing(self) -> bool:
        """Whether the client may be sending what the library is not given."""
        return self.under_way is not None and (self.is_broken or not self.under_way.has_ended)

    def begin(self, framing: Framing, data: bytes) -> None:
        """Give the library a request: its head, and what is there of its body. ``framing`` has taken the latter."""
        assert self.under_way is None
        self.under_way = framing
        self.held = len(data)
        self.protocol.data_received(data)

    def give_body(self, data: bytes) -> None:
        """Give the library more of the body."""
        assert self.under_way is not None
        self.held += len(data)
        self.protocol.data_received(data)

    def break_body(self, error: Exception) -> None:
        """Let ``error`` be raised where the body is read. Nothing more of it is to be given to the library."""
        self._error = error
        if self._content is not None:
            self._content.set_exception(error)
            self._content.feed_eof()

    def handling(self, request: web.BaseRequest) -> None:
        """The library has begun to handle the request."""
        self._content = request.content
        if self._error is not None:
            self.break_body(self._error)

    def answered(self, response: web.StreamResponse) -> None:
        """The answer is written. What was in memory of the request is no longer counted in the budget."""
        self._content = None
        self.held = 0
        if self.is_body_missing:
            self.close()
            return
        self.under_way = None
        self._owner.request_ended(is_last=not response.keep_alive)

    def release(self) -> None:
        """What is in memory of the request is no longer counted in the budget."""
        self.held = 0
        self._owner.library_releases()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._wire.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._wire.is_closing()

    def close(self) -> None:
        self._owner.library_closes()

    def abort(self) -> None:
        self._wire.abort()

    def write(self, data: Bytes) -> None:
        self._wire.write(data)

    def writelines(self, list_of_data: Iterable[Bytes]) -> None:
        self._wire.writelines(list_of_data)

    def get_write_buffer_size(self) -> int:
        return self._wire.get_write_buffer_size()

    def pause_reading(self) -> None:
        self._owner.library_reads(reads=False)

    def resume_reading(self) -> None:
        self._owner.library_reads(reads=True)


def release_body(request: web.Request) -> None:
    """No longer count what was in memory of the request in the budget: it is counted elsewhere now, or gone."""
    if isinstance(request.transport, LibraryHalf):
        request.transport.release()


def finishing_answers(handler: Handler) -> Handler:
    """Write the answer of ``handler`` to its end, and let the connection know: another request may follow then."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        half = request.transport
        if half is None:  # The client was gone before the library came to it.
            return web.Response()
        half = cast(LibraryHalf, half)
        half.handling(request)
        try:
            response = await handler(request)
            if _breaks_off(request):
                response.force_close()
            await response.prepare(request)
            await response.write_eof()
        except ConnectionError:
            half.abort()
            return web.Response()  # It goes nowhere.
        half.answered(response)
        return response

    return handle


def _breaks_off(request: web.BaseRequest) -> bool:
    """Whether nothing can follow: the end of the body is not there, or not where it should be."""
    return not request.content.is_eof() or request.content.exception() is not None
