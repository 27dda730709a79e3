"""The contract: one OpenAPI document for the master and its secondaries, which every node serves."""

import json
from typing import Final

from aiohttp import web

from node.http.openapi import node, reading, writing
from node.http.openapi.parts import Json, text, whole
from node.http.openapi.schemas import SCHEMAS

_HEADERS: Final[dict[str, Json]] = {
    "Cache-Control": text(),
    "ETag": text(pattern='^"[0-9a-f]{32}-[0-9]+"$'),
    "Idempotent-Replayed": {"const": "true"},
    "Location": text(pattern="^/messages/[0-9]+$"),
    "Replog-End-Offset": whole(),
    "Replog-Epoch": whole(least=1),
    "Replog-Log-Id": text(pattern="^[0-9a-f]{32}$"),
    "Retry-After": whole(least=1),
    "X-Accel-Buffering": {"const": "no"},
}
_GETS: Final = {
    "/": reading.LIST_SEED,
    "/messages": reading.LIST_MESSAGES,
    "/messages/{offset}": reading.GIVE_MESSAGE,
    "/batches": reading.GIVE_BATCHES,
    "/status": node.STATUS,
    "/health": node.HEALTH,
    "/health/live": node.LIVE,
    "/health/ready": node.READY,
    "/metrics": node.METRICS,
    "/simulation": node.SHOW_SIMULATION,
    "/openapi.json": node.OPENAPI,
}
_OTHERS: Final = {
    "/": {"post": writing.POST_SEED},
    "/messages": {"post": writing.POST_MESSAGES},
    "/simulation": {"put": node.SIMULATE},
}


def document() -> Json:
    headers = {
        **{name: {"required": True, "schema": schema} for name, schema in _HEADERS.items()},
        **{f"optional-{name}": {"schema": schema} for name, schema in _HEADERS.items()},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ReplicatedLog",
            "version": "1",
            "description": "An append-only log on one master and any number of secondaries. Every node serves this "
            "document; what only the master does, a secondary refuses with 403, and the other way round.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": "writing"}, {"name": "reading"}, {"name": "node"}],
        "paths": {path: {"get": get, "head": _head(get), **_OTHERS.get(path, {})} for path, get in _GETS.items()},
        "components": {"schemas": SCHEMAS, "headers": headers},
    }


def add_openapi(app: web.Application) -> None:
    """Serve the document."""
    body = json.dumps(document()).encode()

    async def give_document(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    app.router.add_get("/openapi.json", give_document)


def _head(get: Json) -> Json:
    """The same request for the header only."""
    responses = {
        status: {key: value for key, value in response.items() if key != "content"}
        for status, response in get["responses"].items()
    }
    name = get["operationId"]
    return {**get, "operationId": f"head{name[0].upper()}{name[1:]}", "responses": responses}
