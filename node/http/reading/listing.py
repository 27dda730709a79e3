"""GET /messages as a list: a page of JSON, or NDJSON of any length."""

from typing import Final

from aiohttp import web

from infra.http.answers import begun, given
from node.http.reading.query import MAX_OFFSET, ReadQuery, asked_start, whole_number
from node.http.reading.readable import READABLE
from node.http.reading.record_json import as_json
from replicated_log.wire.batch import Records

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"


async def give_page(request: web.Request, query: ReadQuery) -> web.StreamResponse:
    """Records from ``from`` on: ``limit``, or fewer if they are large; and where the log ends."""
    readable = request.app[READABLE]
    asked = asked_start(request) or 0
    limit = whole_number(request, "limit", least=1, most=MAX_LIMIT) or DEFAULT_LIMIT
    view = await readable.arrived(query)
    if request.method == "HEAD":
        return await begun(request, JSON, view.headers)
    start = view.place(asked)
    _, records = await readable.log.records(start, min(start + limit, view.shown_end), _array)
    body = f'{{"messages": {records}, "end_offset": {view.end_offset}, "committed_end": {view.committed_end}}}'
    return await given(request, body.encode(), JSON, view.headers)


async def give_lines(request: web.Request, query: ReadQuery) -> web.StreamResponse:
    """Records from ``from`` on, one in each line: ``limit``, or up to the log's end when the answer begins."""
    readable = request.app[READABLE]
    asked = asked_start(request) or 0
    limit = whole_number(request, "limit", least=1, most=MAX_OFFSET) or MAX_OFFSET
    view = await readable.arrived(query)
    if request.method == "HEAD":
        return await begun(request, NDJSON, view.headers)
    at = view.place(asked)
    stop = min(at + limit, view.shown_end)
    with readable.streams.place():
        response = await begun(request, NDJSON, view.headers)
        while at < stop:
            at, lines = await readable.log.records(at, stop, _lines)
            await response.write(lines)
    return response


def _array(records: list[Records]) -> str:
    return f"[{', '.join(as_json(records))}]"


def _lines(records: list[Records]) -> bytes:
    return "\n".join([*as_json(records), ""]).encode()
