"""Answers that may be large, held in memory only as far as the node can bear it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from aiohttp import web

from infra.http.problems import HttpProblem

MAX_UNTAKEN_BYTES: Final = 128 << 20


class Untaken:
    """The bytes of answers given as a whole that their readers have not taken yet. Invariant: at most ``most``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Count ``size`` more bytes. Raises HttpProblem when that is too much for this node."""
        if self._bytes + size > self._most:
            detail = f"{self._bytes} bytes of answers wait for their readers to take them"
            raise HttpProblem(503, "overloaded", detail, headers={"Retry-After": "1"})
        self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size


UNTAKEN: Final = web.AppKey("untaken", Untaken)


async def begun(request: web.Request, content_type: str, headers: Mapping[str, str]) -> web.StreamResponse:
    """An answer whose length is not known, with its headers sent."""
    response = web.StreamResponse(headers=headers)
    response.content_type = content_type
    await response.prepare(request)
    return response


async def given(
    request: web.Request, body: bytes, content_type: str, headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """An answer that is at hand as a whole; returns when the reader has taken it. Raises HttpProblem as ``hold`` does.

    Not a ``web.Response``: that would keep the body for as long as its connection waits for another request.
    """
    response = web.StreamResponse(headers=headers)
    response.content_type = content_type
    response.content_length = len(body)
    with request.app[UNTAKEN].hold(len(body)):
        await response.prepare(request)
        if request.method != "HEAD":
            await response.write(body)
        await response.write_eof()
    return response
