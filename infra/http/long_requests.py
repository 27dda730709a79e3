"""Requests that may last: bounded in number, and over when the node stops."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from infra.http.problems import HttpProblem


class LongRequests:
    """Invariant: at most ``most`` at once. ``what`` names them to the client who is one too many."""

    def __init__(self, what: str, most: int) -> None:
        self._what = what
        self._most = most
        self._taken = 0
        self._stopping = False
        self._limits: dict[asyncio.Timeout, float] = {}

    @property
    def taken(self) -> int:
        """How many there are."""
        return self._taken

    @contextmanager
    def place(self) -> Iterator[None]:
        """Be one of them. Raises HttpProblem when there is no room, or the node stops."""
        if self._stopping:
            raise stopping()
        if self._taken >= self._most:
            raise _unavailable("overloaded", f"there are {self._most} {self._what} already")
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    @asynccontextmanager
    async def until_stop(self, grace_s: float = 0) -> AsyncIterator[asyncio.Timeout]:
        """Leave the block, wherever it waits, ``grace_s`` after the node was told to stop: then this is expired."""
        try:
            async with asyncio.timeout(grace_s if self._stopping else None) as limit:
                self._limits[limit] = grace_s
                try:
                    yield limit
                finally:
                    del self._limits[limit]
        except TimeoutError:
            if not limit.expired():
                raise

    def stop(self) -> None:
        """End them all, and let no more begin."""
        self._stopping = True
        now = asyncio.get_running_loop().time()
        for limit, grace_s in self._limits.items():
            limit.reschedule(now + grace_s)


def stopping() -> HttpProblem:
    return _unavailable("stopping", "this node is about to stop")


def _unavailable(code: str, detail: str) -> HttpProblem:
    return HttpProblem(503, code, detail, headers={"Retry-After": "1"})
