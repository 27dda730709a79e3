"""Answering requests directly: small ones, of a kind of which there are many.

For each request, aiohttp makes a task, a request and a response, which takes longer than a master takes for a message.
A request that is handled directly is handled as soon as its bytes are there, and answered by bytes; one whose head came
before, byte for byte, is not even parsed. A request that asks for anything unusual goes to the library, and to the
handler that it has there, which says what is wrong.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from aiohttp import web

from infra.http.head import CHUNKED, Head, Headers
from infra.http.keyed_heads import KEY, KeyedHeads
from infra.http.known_heads import KnownHeads
from infra.http.problems import failure

MAX_DIRECT_BYTES: Final = 1 << 16
"""Of a body."""


class Reply(Protocol):
    """How a request that is handled directly is answered: once, at once or later."""

    def send(self, status: int, headers: str, body: bytes) -> None:
        """``headers`` are lines, each with its end. When the client is gone, nothing happens."""

    def when_gone(self, forget: Callable[[], object]) -> None:
        """``forget`` is called when the client goes away before the answer is sent."""


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

    def __init__(self, routes: dict[tuple[str, str], DirectRoute]) -> None:
        """``routes`` are by method and path; there may come more."""
        self.routes = routes
        self.heads: KnownHeads[Target] = KnownHeads()
        self._keyed = KeyedHeads()
        self._library_heads: KnownHeads[Head] = KnownHeads()
        """Of requests for which there is no direct route."""

    def library_head(self, data: bytes, begin: int) -> Head | None:
        """The head that stands in ``data`` at ``begin``, if it is known, and there is no direct route for it."""
        known = self._library_heads.find(data, begin)
        return None if known is None else known.meaning

    def keyed_target(self, data: bytes) -> tuple[Target, bytes] | None:
        """What handles ``data``, and its body, if that is one whole request whose head is known but for its key.

        Raises HttpProblem (500) when the route fails.
        """
        found = self._keyed.find(data)
        if found is None:
            return None
        head, headers, size = found
        if len(data) != size + head.body_bytes:
            return None
        handler = _handler(self.routes[head.method, head.target], head.method, head.target, headers)
        return None if handler is None else (Target(handler, head.method, head.target), data[size:])

    def target(self, head: Head, data: bytes, begin: int) -> Target | None:
        """What handles the request that stands in ``data`` at ``begin``; None leaves it to the library.

        ``head`` is the request's. It is remembered, if it may come again.
        Raises HttpProblem (500) when the route fails.
        """
        route = self.routes.get((head.method, head.target))
        if route is None:
            self._library_heads.learn(data[begin : begin + head.size], head.body_bytes, head)
            return None
        if not head.is_plain or head.body_bytes == CHUNKED or head.body_bytes > MAX_DIRECT_BYTES:
            return None
        # The body of a request that is not there as a whole is waited for by the library.
        if len(data) - begin < head.size + head.body_bytes:
            return None
        headers = head.headers
        handler = _handler(route, head.method, head.target, headers)
        if handler is None:
            return None
        target = Target(handler, head.method, head.target)
        self._learn(data[begin : begin + head.size], head, headers, target)
        return target

    def _learn(self, data: bytes, head: Head, headers: Headers, target: Target) -> None:
        """Remember the head that ``data`` is, unless it hardly comes again: it would take the place of another."""
        if "If-Match" in headers:
            return
        if KEY in headers:
            self._keyed.learn(data, head, headers)
        else:
            self.heads.learn(data, head.body_bytes, target)


def _handler(route: DirectRoute, method: str, target: str, headers: Headers) -> DirectHandler | None:
    try:
        return route(headers)
    except Exception as error:
        raise failure(method, target, error, appended="no") from error
