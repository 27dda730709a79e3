"""What every node serves of its log: GET / (the seed's form), /messages, /batches and /status."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from aiohttp import web

from infra.http import accepts_json, json_response, query_number
from infra.log_thread import LogThread
from replicated_log.batch import Record
from replicated_log.delivery import MAX_DELIVERY_BYTES

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000
MAX_OFFSET: Final = (1 << 63) - 1
PAGE_CHARACTERS: Final = 4 << 20
"""A page takes no further slice once it has this much."""

LOG: Final = web.AppKey("log", LogThread)
STATUS: Final[web.AppKey[Callable[[], dict[str, Any]]]] = web.AppKey("status")


def add_reading(app: web.Application, log: LogThread, status: Callable[[], dict[str, Any]]) -> None:
    """Serve ``log``, and what ``status`` returns, to be called for each request."""
    app[LOG] = log
    app[STATUS] = status
    app.router.add_get("/", list_all)
    app.router.add_get("/messages", list_messages)
    app.router.add_get("/batches", give_batches)
    app.router.add_get("/status", show_status)


async def list_all(request: web.Request) -> web.StreamResponse:
    """Every message in order, in the seed's form; streamed, so that the log's length costs no memory."""
    log = request.app[LOG]
    as_json = accepts_json(request)
    response = web.StreamResponse()
    response.content_type = "application/json" if as_json else "text/plain"
    response.charset = "utf-8"
    await response.prepare(request)
    opening, separator, closing = ('{"messages": [', ", ", "]}") if as_json else ("", ",\n", "")
    text = opening
    async for records in _slices(log, 0):
        text += separator.join(json.dumps(record.message) if as_json else record.message for record in records)
        await response.write(text.encode())
        text = separator
    await response.write((opening + closing if text == opening else closing).encode())
    await response.write_eof()
    return response


async def list_messages(request: web.Request) -> web.Response:
    """Records from offset ``from`` on: ``limit``, or fewer where they are large; and where the log ends."""
    log = request.app[LOG]
    start = query_number(request, "from", 0, least=0, most=MAX_OFFSET)
    limit = query_number(request, "limit", DEFAULT_LIMIT, least=1, most=MAX_LIMIT)
    end_offset = log.log.end.offset
    page: list[Record] = []
    async for records in _slices(log, start):
        page += records[: limit - len(page)]
        if len(page) == limit or sum(len(record.message) for record in page) >= PAGE_CHARACTERS:
            break
    messages = [
        {"offset": record.offset, "epoch": record.epoch, "time": record.time, "message": record.message}
        for record in page
    ]
    return json_response({"messages": messages, "end_offset": end_offset})


async def give_batches(request: web.Request) -> web.Response:
    """The stored batches from offset ``from`` on, byte for byte, at most one delivery full; empty at the end."""
    start = query_number(request, "from", 0, least=0, most=MAX_OFFSET)
    batches = await request.app[LOG].read(start, MAX_DELIVERY_BYTES)
    return web.Response(body=b"".join(batch.data for batch in batches), content_type="application/octet-stream")


async def show_status(request: web.Request) -> web.Response:
    return json_response(request.app[STATUS]())


async def _slices(log: LogThread, start: int) -> AsyncIterator[list[Record]]:
    """The records from ``start`` to what is the end now, a slice at a time."""
    end = log.log.end.offset
    while start < end and (batches := await log.read(start)):
        yield [record for batch in batches for record in batch.records() if start <= record.offset < end]
        start = batches[-1].end.offset
