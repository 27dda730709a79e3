"""Serving HTTP: what the handlers of a node's routes are wrapped into."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from infra.http.bodies import BODIES, Bodies
from infra.http.connection import Connection, Door, ends_connection
from infra.http.direct import DIRECT
from infra.http.limits import LIMITS, Limits
from infra.http.problems import Handler, answering_problems

SHUTDOWN_GRACE_S: Final = 5.0
"""How long requests under way may take to end once the process is told to stop."""
BACKLOG: Final = 1024

logger = logging.getLogger(__name__)


def application(limits: Limits | None = None) -> web.Application:
    """What routes are added to, to be served by :func:`serving`."""
    app = web.Application()
    app[LIMITS] = limits or Limits()
    app[DIRECT] = {}
    app[BODIES] = Bodies(app[LIMITS].bodies_bytes)
    return app


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int) -> AsyncIterator[None]:
    """Serve ``app``. On leaving, no more is accepted, and what is under way may end within SHUTDOWN_GRACE_S.

    A handler is cancelled when its client goes away.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_GRACE_S, handler_cancellation=True)
    await runner.setup()
    try:
        assert runner.server is not None
        door = Door(runner.server, app[LIMITS], app[DIRECT])
        # Here rather than in a middleware: a refused Expect does not come past those.
        runner.server.request_handler = _handling(app[BODIES], answering_problems(runner.server.request_handler))
        listening = await asyncio.get_running_loop().create_server(door, host, port, backlog=BACKLOG)
        logger.info("serving HTTP at %s:%d", host, port)
        try:
            yield
        finally:
            listening.close()
    finally:
        await runner.cleanup()


def _handling(bodies: Bodies, handler: Handler) -> Handler:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request.protocol, Connection)
        try:
            with request.protocol.handling(request):
                response = await handler(request)
        finally:
            bodies.release(request)
        if ends_connection(request):
            response.force_close()
        return response

    return handle
