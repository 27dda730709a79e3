"""Answering requests directly: small ones, of a kind of which there are many.

For each request, aiohttp makes a task, a request and a response, and all that takes longer than a master takes for a
message. A request that is handled directly is handled as soon as its bytes are there, and answered by bytes; one whose
head came before, byte for byte, is not even parsed. Whatever is unusual about one is left to the library, and to the
handler that it has there, which says what is wrong.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

from aiohttp import HttpVersion11, StreamReader, hdrs, web
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDictProxy

from infra.http.known_heads import KnownHead, KnownHeads, is_whole
from infra.http.problems import failure
from infra.http.raw import response_bytes

MAX_DIRECT_BYTES: Final = 1 << 16
"""Of a body. So many are dealt with in one go, and nobody need count them."""
_ONE_TIME: Final = ("Idempotency-Key", hdrs.IF_MATCH)
"""Each makes a head that hardly comes again: to learn it is to forget another one."""


class Reply(Protocol):
    """How a request that is handled directly is answered: once, at once or later."""

    def send(self, status: int, headers: str, body: bytes) -> None:
        """``headers`` are lines, each with its end. When the client is gone, nothing happens."""

    def when_gone(self, forget: Callable[[], object]) -> None:
        """``forget`` is called when the client goes away before the answer is sent."""


Headers = CIMultiDictProxy[str]
DirectHandler = Callable[[bytes, Reply], bool]
"""Takes the body. True: the request is answered by the reply. False: nothing was done."""
DirectRoute = Callable[[Headers], DirectHandler | None]
"""Makes the handler of requests with these headers, of which there may come many; None leaves them to the library."""

DIRECT: Final[web.AppKey[dict[tuple[str, str], DirectRoute]]] = web.AppKey("direct")
"""By method and path, query included."""


class Target(NamedTuple):
    """What handles a request directly, and what the request was for."""

    handler: DirectHandler
    method: str
    path: str


class DirectRequests:
    """What all connections of a server share: their direct routes, and the heads that lead to handlers of these."""

    def __init__(self, routes: Mapping[tuple[str, str], DirectRoute]) -> None:
        """``routes`` are by method and path; there may come more."""
        self.routes = routes
        self.heads: KnownHeads[Target] = KnownHeads()


class DirectConnection(web.RequestHandler):
    """A connection on which at most one request at a time is handled directly, and the library handles the others.

    The library has no door for this: here, and nowhere else, its inner state is read and kept as its own code does.
    Invariant: while a request is handled directly, the library's task waits, and sees none of those that come behind.
    While ``_between``, all that the parser was given were whole requests: the next byte begins another one.
    """

    __slots__ = ("_between", "_forget", "_head", "_is_direct", "_is_refused", "_shared")

    def take_directly(self, shared: DirectRequests) -> None:
        """To be called before the connection is made."""
        self._shared = shared
        self._is_direct = False
        self._is_refused = False
        self._between = True
        self._head: KnownHead[Target] | None = None
        self._forget: Callable[[], object] | None = None

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        forget, self._forget = self._forget, None
        if self._is_direct and forget is not None:
            forget()
        self._is_direct = False

    def data_received(self, data: bytes) -> None:
        if not self._is_known(data):
            self.parse(data)

    def parse(self, data: bytes) -> None:
        """Let the library read it, and handle what is in it, directly or by the library's task."""
        whole = data if self._between and not self._messages else b""
        # The library, when it goes on reading, begins by parsing nothing: that says nothing about what came before.
        self._between = self._between and not data
        # The library's task, which waits for requests, is not to see one that is handled directly.
        waiter, self._waiter = self._waiter, None
        try:
            super().data_received(data)
        finally:
            self._waiter = waiter
        if not self._messages:
            return
        if whole and len(self._messages) == 1:
            message, payload = self._messages[0]
            self._between = (
                isinstance(message, RawRequestMessage)
                and not message.upgrade
                and payload.is_eof()
                and is_whole(whole, payload.total_bytes)
            )
        refused, self._is_refused = self._is_refused, False
        if not self._is_direct and (refused or not self._taken_directly(whole)):
            self._wake()

    @property
    def requests(self) -> int:
        """How many have come whose header is there."""
        return self._request_count

    @property
    def requests_wait(self) -> bool:
        """Whether some of them are not handled yet."""
        return bool(self._messages)

    def direct_begins(self) -> None:
        """The header of a request is there, and the request is being handled."""

    def direct_ends(self) -> None:
        """The request is answered."""

    def send(self, status: int, headers: str, body: bytes) -> None:
        if not self._is_direct or self.transport is None or self.transport.is_closing():
            return
        self.transport.write(response_bytes(status, headers, body))
        self._end()
        if self._messages:
            self._wake()

    def when_gone(self, forget: Callable[[], object]) -> None:
        self._forget = forget

    def _is_known(self, data: bytes) -> bool:
        """Handle it directly, if it is one whole request whose head is known, and that can be."""
        if not self._between or self._messages or not self._is_idle():
            return False
        # Most clients send the same one all the time.
        body = None if self._head is None else self._head.body_in(data)
        if body is None:
            self._head = self._shared.heads.find(data)
            body = None if self._head is None else self._head.body_in(data)
        if self._head is None or body is None:
            return False
        self._is_refused = not self._handled(self._head.meaning, body)
        if self._is_refused:
            return False
        self._request_count += 1
        return True

    def _taken_directly(self, whole: bytes) -> bool:
        """The same for what the parser has read. ``whole`` is what it was given, if ``_between`` says that it was."""
        if len(self._messages) > 1 or not self._is_idle():
            return False
        message, payload = self._messages[0]
        if not isinstance(message, RawRequestMessage) or not _is_plain(message) or not payload.is_eof():
            return False
        route = self._shared.routes.get((message.method, message.path))
        if route is None or payload.total_bytes > MAX_DIRECT_BYTES:
            return False
        handler = route(message.headers)
        if handler is None:
            return False
        target = Target(handler, message.method, message.path)
        self._messages.popleft()
        body = payload.read_nowait()
        if not self._handled(target, body):
            self._messages.append((message, self._unread(body)))
            return False
        if self._parser is not None:
            self._parser.message_consumed()
        if self._between and not any(name in message.headers for name in _ONE_TIME):
            self._shared.heads.learn(whole, len(body), target)
        return True

    def _is_idle(self) -> bool:
        """Whether the library's task waits for a request, and nobody else is in the way of one."""
        closing = self._force_close or self._close
        return self._waiter is not None and not self._is_direct and not self.writing_paused and not closing

    def _handled(self, target: Target, body: bytes) -> bool:
        self._begin()
        try:
            taken = target.handler(body, self)
        except Exception as error:  # noqa: BLE001 - a fault in any handler is answered, and logged
            problem = failure(target.method, target.path, error, appended="unknown")
            self.send(problem.status, problem.raw_headers(), problem.body())
            taken = True
        if not taken:
            self._end()
        return taken

    def _begin(self) -> None:
        self._is_direct = True
        self._request_in_progress = True  # A shutdown waits for it.
        self._keepalive = False  # Meanwhile the connection is not idle.
        self.direct_begins()

    def _end(self) -> None:
        self._is_direct = False
        self._forget = None
        self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        self._keepalive = True
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)
        self.direct_ends()

    def _unread(self, body: bytes) -> StreamReader:
        payload = StreamReader(self, 2 * MAX_DIRECT_BYTES, loop=self._loop)
        payload.feed_data(body)
        payload.feed_eof()
        return payload

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _is_plain(message: RawRequestMessage) -> bool:
    """Whether there is nothing about a request that asks for more than its headers and body say."""
    headers = message.headers
    return (
        message.version == HttpVersion11
        and not (message.should_close or message.upgrade or message.chunked)
        and not (hdrs.EXPECT in headers or hdrs.CONTENT_ENCODING in headers or hdrs.TRANSFER_ENCODING in headers)
    )
