"""Makes the protocol of each new connection, bounded in number, and sees them all off when the node stops."""

import asyncio
import resource
from contextlib import suppress
from typing import Final, cast

from aiohttp import web

from infra.http.budget import Budget
from infra.http.connection import LINGER_S
from infra.http.direct import DirectRequests
from infra.http.front import Front
from infra.http.limits import Limits
from infra.http.problems import HttpProblem, log_refusal

OTHER_FILES: Final = 200
"""File descriptors that are not for HTTP."""
MAX_REFUSALS: Final = 100
"""Refused connections that are kept open, so that their clients find time to read why."""


class Door:
    """What a client comes to first. Makes the protocol of each new connection, and ends all connections at last.

    The protocol is one that serves the connection, or, when there are too many, one that refuses it.
    """

    def __init__(self, runner: web.AppRunner, limits: Limits, direct: DirectRequests) -> None:
        """``runner`` is to be set up before the first connection comes."""
        self._runner = runner
        self._limits = limits
        self._direct = direct
        self._budget = Budget(limits.bodies_bytes)
        self._fronts: set[Front] = set()
        self._refusals: set[Refusal] = set()
        self._most = max(1, _file_limit(limits.connections + OTHER_FILES) - OTHER_FILES)

    def __call__(self) -> asyncio.Protocol:
        if len(self._fronts) >= self._most:
            return Refusal(self._refusals)
        assert self._runner.server is not None
        return Front(self._runner.server, self._limits, self._direct, self._budget, self._fronts)

    async def close(self, grace_s: float) -> None:
        """Close each connection once the request under way there is answered.

        Return when all are closed, or after ``grace_s``.
        """
        closed = [front.stop() for front in list(self._fronts)]
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                for each in closed:
                    await each.wait()

    async def abort(self) -> None:
        """Cut off each connection that is still open. Return when the requests under way there are forgotten."""
        for refusal in list(self._refusals):
            refusal.abort()
        for gone in [front.abort() for front in list(self._fronts)]:
            await gone.wait()


class Refusal(asyncio.Protocol):
    """A connection that is one too many: told so, and closed, unless there are too many such: those are cut off."""

    def __init__(self, refusals: "set[Refusal]") -> None:
        """``refusals`` are all that are open. Invariant: at most MAX_REFUSALS."""
        self._refusals = refusals
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast(asyncio.Transport, transport)
        if len(self._refusals) >= MAX_REFUSALS:
            self.abort()
            return
        self._refusals.add(self)
        problem = HttpProblem(
            503,
            "too-many-connections",
            "this node has as many connections as it takes",
            headers={"Retry-After": "1"},
        )
        log_refusal(problem)
        self._wire.write(problem.raw_response())
        self._wire.write_eof()
        # Closed at once, with the request still on its way, it would be reset, and the answer lost.
        self._timer = asyncio.get_running_loop().call_later(LINGER_S, self.abort)

    def connection_lost(self, _: Exception | None) -> None:
        self._refusals.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def abort(self) -> None:
        self._wire.abort()


def _file_limit(wanted: int) -> int:
    """How many files this process may have open, after asking for ``wanted``: by default it may be a thousand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed
