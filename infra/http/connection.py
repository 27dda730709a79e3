"""The connections of a node's HTTP server, bounded in number and in what each may keep waiting."""

import asyncio
import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, cast

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from infra.http.direct import DirectConnection, DirectRequests, DirectRoute
from infra.http.limits import Limits
from infra.http.problems import HttpProblem, log_refusal

LINGER_S: Final = 3.0
"""How long a refused client may go on sending, so that it finds time to read why."""
OTHER_FILES: Final = 200
"""File descriptors that are not for HTTP."""

logger = logging.getLogger(__name__)


class Door:
    """Makes each new connection's protocol: one that serves it, or, when there are too many, one that refuses it."""

    def __init__(self, server: web.Server, limits: Limits, direct: dict[tuple[str, str], DirectRoute]) -> None:
        self.server = server
        self.limits = limits
        self.direct = DirectRequests(direct)
        self.open = 0
        self._most = max(1, _file_limit(limits.connections + OTHER_FILES) - OTHER_FILES)

    def __call__(self) -> asyncio.Protocol:
        return Connection(self) if self.open < self._most else Refusal()


class Refusal(asyncio.Protocol):
    """A connection that is one too many: told so, and closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        problem = HttpProblem(
            503,
            "too-many-connections",
            "this node has as many connections as it takes",
            headers={"Retry-After": "1"},
        )
        log_refusal(problem)
        transport = cast(asyncio.Transport, transport)
        transport.write(problem.raw_response())
        transport.write_eof()
        # Closed at once, with the request still on its way, it would be reset, and the answer lost.
        self._timer = asyncio.get_running_loop().call_later(LINGER_S, transport.abort)

    def connection_lost(self, _: Exception | None) -> None:
        self._timer.cancel()


class Connection(DirectConnection):
    """A client's connection. It is closed when a header does not come to its end, or an answer is not taken.

    The library bounds the rest: idle time, and what it reads ahead.
    """

    __slots__ = ("_body", "_busy", "_door", "_header_timer", "_stuck_timer", "_unsent", "_wire")

    def __init__(self, door: Door) -> None:
        limits = door.limits
        super().__init__(
            door.server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.idle_s,
            max_line_size=limits.line_bytes,
            max_field_size=limits.line_bytes,
            max_headers=limits.fields,
            lingering_time=LINGER_S,
            auto_decompress=False,
            access_log=None,  # type: ignore[arg-type]  # no access log; AppRunner hands None on too
        )
        self.take_directly(door.direct)
        self._door = door
        self._busy = False
        """A request is there, or being handled, or the connection is about to be closed."""
        self._body: StreamReader | None = None
        self._header_timer: asyncio.TimerHandle | None = None
        self._stuck_timer: asyncio.TimerHandle | None = None
        self._unsent = 0
        self._wire: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast(asyncio.Transport, transport)
        # So a paused protocol is one with bytes that the client has not taken, be they few or many.
        self._wire.set_write_buffer_limits(high=0)
        self._door.open += 1
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._door.open -= 1
        self._stop_timers()
        super().connection_lost(exc)

    def parse(self, data: bytes) -> None:
        requests = self.requests
        super().parse(data)
        if self.requests_wait and self._body is not None and not self._body.is_eof():
            # What comes behind a body that has no end is the parser's error. The handler would never hear of it.
            self._body.set_exception(web.RequestPayloadError("it is not framed as HTTP/1.1 wants it"))
            self._body.feed_eof()
        if self.requests_wait:
            # Its time is not over, though the process may stand still before it comes to handling it.
            self._header_is_there()
        elif data and not self._busy and self._header_timer is None and self.requests == requests:
            self._header_timer = self._loop.call_later(self._door.limits.header_s, self._refuse_slow_header)

    @contextmanager
    def handling(self, request: web.BaseRequest) -> Iterator[None]:
        """``request`` is being handled."""
        self._body = request.content
        try:
            yield
        finally:
            self._body = None
            # What may still come of a body is no header.
            self._busy = ends_connection(request) or self.requests_wait

    def direct_begins(self) -> None:
        self._header_is_there()

    def direct_ends(self) -> None:
        self._busy = self.requests_wait

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent = self._wire.get_write_buffer_size()
        self._stuck_timer = self._loop.call_later(self._door.limits.stuck_s, self._close_if_stuck)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stuck_timer is not None:
            self._stuck_timer.cancel()
            self._stuck_timer = None

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - aiohttp hands it over; a broken one has nothing to tell
        status: int = 500,  # noqa: ARG002 - aiohttp hands it over; the problem has its own
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What can't be read as HTTP is refused as everything else is."""
        if not isinstance(exc, HttpProcessingError):
            assert exc is not None
            raise exc
        if isinstance(exc, LineTooLong):
            most = self._door.limits.line_bytes
            problem = HttpProblem(
                431, "header-too-large", f"the request's target or a header field exceeds {most} bytes"
            )
        else:
            reason = (message or str(exc)).split("\n")[0].rstrip(": ")
            problem = HttpProblem(400, "bad-request", f"this can't be read as HTTP/1.1: {reason[:200]}")
        log_refusal(problem)
        response = problem.response()
        response.force_close()
        return response

    def _header_is_there(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
        self._busy = True

    def _refuse_slow_header(self) -> None:
        self._header_timer = None
        if self._busy:
            return
        if self.writing_paused:
            # Not into the middle of the answer before.
            self._header_timer = self._loop.call_later(self._door.limits.header_s, self._refuse_slow_header)
            return
        detail = f"the header was not there after {self._door.limits.header_s:g} s"
        problem = HttpProblem(408, "slow-header", detail, retry="safe")
        log_refusal(problem)
        self._wire.write(problem.raw_response())
        self.force_close()

    def _close_if_stuck(self) -> None:
        unsent = self._wire.get_write_buffer_size()
        if unsent < self._unsent:
            self._unsent = unsent
            self._stuck_timer = self._loop.call_later(self._door.limits.stuck_s, self._close_if_stuck)
            return
        self._stuck_timer = None
        logger.info("closed a connection: of %d bytes none was taken in %g s", unsent, self._door.limits.stuck_s)
        self._wire.abort()

    def _stop_timers(self) -> None:
        for timer in (self._header_timer, self._stuck_timer):
            if timer is not None:
                timer.cancel()


def ends_connection(request: web.BaseRequest) -> bool:
    """Whether nothing can follow: the end of the body is not there, or not where it should be."""
    return not request.content.is_eof() or request.content.exception() is not None


def _file_limit(wanted: int) -> int:
    """How many files this process may have open, after asking for ``wanted``: by default it may be a thousand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed
