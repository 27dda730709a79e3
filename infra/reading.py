"""What every node serves of its log: GET / (the seed's form), /messages, /batches and /status."""

import json
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from infra.http import HttpProblem, accepts_json, json_response, query_number
from infra.log_thread import LogThread
from replicated_log.batch import Record
from replicated_log.delivery import MAX_DELIVERY_BYTES
from replicated_log.log_reader import CorruptLogError

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000
MAX_OFFSET: Final = (1 << 63) - 1

LOG: Final = web.AppKey("log", LogThread)
STATUS: Final[web.AppKey[Callable[[], dict[str, Any]]]] = web.AppKey("status")


def add_reading(app: web.Application, log: LogThread, status: Callable[[], dict[str, Any]]) -> None:
    """Serve ``log``, and what ``status`` returns, to be called for each request."""
    app[LOG] = log
    app[STATUS] = status
    app.router.add_get("/", list_all)
    app.router.add_get("/messages", list_messages)
    app.router.add_get(r"/messages/{offset:[0-9]+}", give_message)
    app.router.add_get("/batches", give_batches)
    app.router.add_get("/status", show_status)


async def list_all(request: web.Request) -> web.StreamResponse:
    """Every message in order, in the seed's form; streamed, so that the log's length costs no memory."""
    log = request.app[LOG]
    as_json = accepts_json(request)
    response = web.StreamResponse()
    response.content_type = "application/json" if as_json else "text/plain"
    response.charset = "utf-8"
    opening, separator, closing = ('{"messages": [', ", ", "]}") if as_json else ("", ",\n", "")

    def shape(records: list[Record]) -> bytes:
        return separator.join(json.dumps(record.message) if as_json else record.message for record in records).encode()

    await response.prepare(request)
    if request.method == "HEAD":
        return response
    await response.write(opening.encode())
    at, stop = 0, log.log.end.offset
    try:
        while at < stop:
            begin = at
            at, text = await log.records(begin, stop, shape)
            await response.write(text if begin == 0 else separator.encode() + text)
    except CorruptLogError:
        # What is on its way can't be taken back. Break it off, so that nobody takes it for the whole.
        if request.transport is not None:
            request.transport.abort()
        raise
    await response.write(closing.encode())
    await response.write_eof()
    return response


async def list_messages(request: web.Request) -> web.Response:
    """Records from offset ``from`` on: ``limit``, or fewer where they are large; and where the log ends."""
    log = request.app[LOG]
    start = query_number(request, "from", 0, least=0, most=MAX_OFFSET)
    limit = query_number(request, "limit", DEFAULT_LIMIT, least=1, most=MAX_LIMIT)
    end_offset = log.log.end.offset
    _, page = await log.records(start, min(start + limit, end_offset), _as_objects)
    return json_response({"messages": page, "end_offset": end_offset})


async def give_message(request: web.Request) -> web.Response:
    """One record."""
    log = request.app[LOG]
    text = request.match_info["offset"]
    offset = int(text) if len(text) < 19 else MAX_OFFSET
    if offset >= log.log.end.offset:
        detail = f"there is no record at offset {text[:40]}; the log ends at {log.log.end.offset}"
        raise HttpProblem(404, "no-such-record", detail, appended=None)
    _, (record,) = await log.records(offset, offset + 1, _as_objects)
    return json_response(record)


async def give_batches(request: web.Request) -> web.Response:
    """The stored batches from offset ``from`` on, byte for byte, at most one delivery full; empty at the end."""
    start = query_number(request, "from", 0, least=0, most=MAX_OFFSET)
    batches = await request.app[LOG].batches(start, MAX_DELIVERY_BYTES)
    return web.Response(body=b"".join(batch.data for batch in batches), content_type="application/octet-stream")


async def show_status(request: web.Request) -> web.Response:
    return json_response(request.app[STATUS]())


def _as_objects(records: list[Record]) -> list[dict[str, Any]]:
    return [
        {"offset": record.offset, "epoch": record.epoch, "time": record.time, "message": record.message}
        for record in records
    ]
