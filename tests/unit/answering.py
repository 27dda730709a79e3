"""A node for the client to talk to, that answers as it is told."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from client.api import Node


@asynccontextmanager
async def node_answering(handler: Callable[[web.Request], Any]) -> AsyncIterator[Node]:
    app = web.Application(client_max_size=2**23)
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app) as server, Node(str(server.make_url("/")), "node1") as node:
        yield node


def problem(status: int, **fields: object) -> web.Response:
    return web.json_response({"title": "Problem", **fields}, status=status, content_type="application/problem+json")


def hang_up(request: web.Request) -> web.Response:
    """What the client sees of a node that dies with its request."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
