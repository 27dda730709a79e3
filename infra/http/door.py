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


class Door:
    """Makes each new connection's protocol: one that serves it, or, when there are too many, one that refuses it."""

    def __init__(self, server: web.Server, limits: Limits, direct: DirectRequests) -> None:
        self._server = server
        self._limits = limits
        self._direct = direct
        self._budget = Budget(limits.bodies_bytes)
        self._fronts: set[Front] = set()
        self._most = max(1, _file_limit(limits.connections + OTHER_FILES) - OTHER_FILES)

    def __call__(self) -> asyncio.Protocol:
        if len(self._fronts) >= self._most:
            return Refusal()
        return Front(self._server, self._limits, self._direct, self._budget, self._fronts)

    async def close(self, grace_s: float) -> None:
        """Close each connection once the request under way there is answered; return when all are, or after a while."""
        answers = [answered for front in list(self._fronts) if (answered := front.stop()) is not None]
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                for answered in answers:
                    await answered.wait()


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


def _file_limit(wanted: int) -> int:
    """How many files this process may have open, after asking for ``wanted``: by default it may be a thousand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed
