"""Serving HTTP: what the handlers of a node's routes are wrapped into."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from infra.http.direct import DIRECT, DirectRequests
from infra.http.door import Door
from infra.http.library import NO_TIMEOUT_S, finishing_answers
from infra.http.limits import LIMITS, Limits
from infra.http.problems import answering_problems

SHUTDOWN_GRACE_S: Final = 5.0
"""How long requests under way may take to end once the process is told to stop."""
CANCEL_GRACE_S: Final = 1.0
"""How long aiohttp lets those go on that have not ended then, and how long they may take then to be cancelled."""
BACKLOG: Final = 1024

logger = logging.getLogger(__name__)


def application(limits: Limits | None = None) -> web.Application:
    """What routes are added to, to be served by :func:`serving`."""
    app = web.Application()
    app[LIMITS] = limits or Limits()
    app[DIRECT] = {}
    return app


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int) -> AsyncIterator[None]:
    """Serve ``app``. On leaving, no more is accepted, and what is under way may end within SHUTDOWN_GRACE_S.

    A handler is cancelled when its client goes away, or when it goes on for CANCEL_GRACE_S longer than that. At last
    all connections are cut off that are still open, at most SHUTDOWN_GRACE_S + 2 * CANCEL_GRACE_S after the beginning.
    """
    app.on_response_prepare.append(_hide_server)
    limits = app[LIMITS]
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=CANCEL_GRACE_S,
        handler_cancellation=True,
        auto_decompress=False,
        # The front bounds what follows, more narrowly, and closes connections itself.
        keepalive_timeout=NO_TIMEOUT_S,
        lingering_time=0,
        max_line_size=limits.line_bytes,
        max_field_size=limits.line_bytes,
        max_headers=limits.fields,
    )

    door = Door(runner, limits, DirectRequests(app[DIRECT]))

    async def close(_: web.Application) -> None:
        await door.close(SHUTDOWN_GRACE_S)

    app.on_shutdown.append(close)
    await runner.setup()
    try:
        assert runner.server is not None
        # Here rather than in a middleware: a refused Expect does not come past those.
        runner.server.request_handler = finishing_answers(answering_problems(runner.server.request_handler))
        listening = await asyncio.get_running_loop().create_server(door, host, port, backlog=BACKLOG)
        logger.info("serving HTTP at %s:%d", host, port)
        try:
            yield
        finally:
            listening.close()
    finally:
        await runner.cleanup()
        await door.abort()


async def _hide_server(_: web.Request, response: web.StreamResponse) -> None:
    """Remove the Server header, which names the library."""
    response.headers.pop("Server", None)
