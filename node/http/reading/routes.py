"""What every node serves of its log: GET / (the seed's form), /messages, /batches and /status."""

from collections.abc import Awaitable, Callable
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from aiohttp import web

from infra.aio.offset_watch import OffsetWatch
from infra.disk.log_thread import LogThread
from infra.http.accept import preferred
from infra.http.answers import MAX_UNTAKEN_BYTES, UNTAKEN, Untaken, given
from infra.http.problems import HttpProblem, accepts_json, check_query, json_response
from node.http.reading.following import EVENTS, follow
from node.http.reading.listing import JSON, NDJSON, give_lines, give_page
from node.http.reading.query import MAX_OFFSET, read_query, whole_number
from node.http.reading.readable import READABLE, Readable
from node.http.reading.record_json import as_json
from replicated_log.wire.batch import Records
from replicated_log.wire.delivery import MAX_DELIVERY_BYTES

STATUS: Final[web.AppKey[Callable[[], dict[str, Any]]]] = web.AppKey("status")
WAIT_FOR_COPIES: Final[web.AppKey[Callable[[web.Request, int], Awaitable[web.StreamResponse]]]] = web.AppKey("copies")
"""Answers GET /messages/{offset} when the query has a ``w``: a master waits for copies, a secondary refuses."""


def add_reading(
    app: web.Application, log: LogThread, committed: OffsetWatch, status: Callable[[], dict[str, Any]]
) -> None:
    """Serve ``log``, and what ``status`` returns, to be called for each request.

    ``committed`` is the end of what a majority holds, as far as this node knows: it may be too low, never too high.
    """
    app[READABLE] = Readable(log, committed)
    app[UNTAKEN] = Untaken(MAX_UNTAKEN_BYTES)
    app[STATUS] = status
    app.on_shutdown.append(app[READABLE].stop)
    app.router.add_get("/", list_all)
    app.router.add_get("/messages", list_messages)
    app.router.add_get(r"/messages/{offset:[0-9]+}", give_message)
    app.router.add_get("/batches", give_batches)
    app.router.add_get("/status", show_status)


async def list_all(request: web.Request) -> web.StreamResponse:
    """Every message in order, in the seed's form; streamed, so that the log's length costs no memory."""
    readable = request.app[READABLE]
    in_json = accepts_json(request)
    response = web.StreamResponse()
    response.content_type = JSON if in_json else "text/plain"
    response.charset = "utf-8"
    opening, separator, closing = ('{"messages": [', ", ", "]}") if in_json else ("", ",\n", "")

    def shape(several: list[Records]) -> bytes:
        messages = [message for records in several for message in records.messages]
        return separator.join(map(encode_basestring_ascii, messages) if in_json else messages).encode()

    with readable.streams.place():
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        await response.write(opening.encode())
        at, stop = 0, readable.log.on_disk.offset
        while at < stop:
            begin = at
            at, text = await readable.log.records(begin, stop, shape)
            await response.write(text if begin == 0 else separator.encode() + text)
        await response.write(closing.encode())
        await response.write_eof()
    return response


async def list_messages(request: web.Request) -> web.StreamResponse:
    """Records in the form that the client accepts: a page, all in lines, or all and those to come as events."""
    form = preferred(request, (JSON, NDJSON, EVENTS))
    if form == EVENTS:
        return await follow(request, read_query(request, "from"))
    give = give_lines if form == NDJSON else give_page
    return await give(request, read_query(request, "from", "limit"))


async def give_message(request: web.Request) -> web.StreamResponse:
    """One record. It never changes, so a client that has it need not ask again."""
    text = request.match_info["offset"].lstrip("0") or "0"
    offset = int(text) if len(text) < 19 else MAX_OFFSET
    if "w" in request.query:
        return await request.app[WAIT_FOR_COPIES](request, offset)
    readable = request.app[READABLE]
    query = read_query(request)
    view = await readable.arrived(query)
    if offset >= view.shown_end:
        end = "is known to be committed up to" if query.committed else "ends at"
        detail = f"there is no record at offset {text[:40]} yet; the log {end} {view.shown_end}"
        raise HttpProblem(404, "no-such-record", detail, headers=view.headers, end_offset=view.end_offset)
    etag = f"{view.headers['Replog-Log-Id']}-{offset}"
    headers = {**view.headers, "ETag": f'"{etag}"', "Cache-Control": "public, max-age=31536000, immutable"}
    if any(known.value in {etag, "*"} for known in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    _, (record,) = await readable.log.records(offset, offset + 1, as_json)
    return await given(request, record.encode(), JSON, headers)


async def give_batches(request: web.Request) -> web.StreamResponse:
    """The stored batches from offset ``from`` on, byte for byte, at most one delivery full; empty at the end."""
    check_query(request, ("from",))
    start = whole_number(request, "from", least=0, most=MAX_OFFSET) or 0
    body = b"".join([batch.data for batch in await request.app[READABLE].log.batches(start, MAX_DELIVERY_BYTES)])
    return await given(request, body, "application/octet-stream")


async def show_status(request: web.Request) -> web.Response:
    return json_response(request.app[STATUS]())
