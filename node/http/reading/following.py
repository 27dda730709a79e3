"""GET /messages as server-sent events: the records that are there, and those to come as they come.

The stream begins after Last-Event-ID where the client has one (a browser that connects again asks for the same URL, and
says by that header how far it has come), else at ``from``, else at the end, as ``tail`` does. The first thing sent is
the id before the first record, without an event, so that a reader that loses the connection before its first record
misses none either.
"""

import asyncio
import re
from typing import Final

from aiohttp import web

from infra.aio.offset_watch import OffsetWatch
from infra.disk.log_thread import LogThread
from infra.http.answers import begun
from infra.http.problems import HttpProblem
from node.http.reading.query import ReadQuery, asked_start
from node.http.reading.readable import READABLE, Readable
from node.http.reading.record_json import as_json
from replicated_log.wire.batch import Records

EVENTS: Final = "text/event-stream"
KEEP_ALIVE_S: Final = 15.0
FAREWELL_S: Final = 1.0
"""How long a reader may take for the last event when the node stops. A slower one's connection is broken off."""

_KEEP_ALIVE: Final = b": nothing new\n\n"
_EVENT_ID: Final = re.compile(r"-1|[0-9]{1,18}")


async def follow(request: web.Request, query: ReadQuery) -> web.StreamResponse:
    """Ends when the node stops, or when another log takes the place of the one that was followed."""
    readable = request.app[READABLE]
    last_seen, asked = _last_event_id(request), asked_start(request)
    view = await readable.arrived(query)
    if request.method == "HEAD":
        return await begun(request, EVENTS, view.headers)
    start = view.shown_end if asked is None else view.place(asked)
    if last_seen is not None:
        start = last_seen + 1
    # nginx would otherwise hold events back until it has a buffer full of them.
    headers = {**view.headers, "X-Accel-Buffering": "no"}
    with readable.streams.place():
        response = await begun(request, EVENTS, headers)
        async with readable.streams.until_stop(FAREWELL_S) as limit:
            await response.write(f"id: {start - 1}\n\n".encode())
            await _send_events(response, readable, readable.shown(query), start)
            await response.write_eof()
        if limit.expired() and request.transport is not None:
            request.transport.abort()
    return response


async def _send_events(response: web.StreamResponse, readable: Readable, shown: OffsetWatch, at: int) -> None:
    """Send whole events until the node stops, or the log is another one.

    Only one slice of the log is in memory, until the reader has taken it.
    """
    log = readable.log.log
    log_id = log.log_id
    while True:
        async with readable.streams.until_stop() as limit:
            at, piece = await _next(readable.log, shown, at)
        # A log without a record may give way to another one, and the piece may be of that one already.
        log_id = log_id or log.log_id
        if limit.expired() or log.log_id != log_id:
            return
        if piece:
            await response.write(piece)


async def _next(log: LogThread, shown: OffsetWatch, at: int) -> tuple[int, bytes]:
    """The offset where the next piece ends, and the piece: the records from ``at`` on, once there are any."""
    if at < (stop := shown.offset):
        return await log.records(at, stop, _events)
    return at, b"" if await _moves(shown, at) else _KEEP_ALIVE


async def _moves(shown: OffsetWatch, at: int) -> bool:
    """Wait until the log goes on beyond ``at``; False when it does not for KEEP_ALIVE_S."""
    try:
        async with asyncio.timeout(KEEP_ALIVE_S):
            await shown.passed(at)
    except TimeoutError:
        return False
    return True


def _events(records: list[Records]) -> bytes:
    lines = as_json(records)
    first = records[0].first_offset
    return "".join([f"id: {offset}\ndata: {line}\n\n" for offset, line in enumerate(lines, first)]).encode()


def _last_event_id(request: web.Request) -> int | None:
    text = request.headers.get("Last-Event-ID", "")
    if text and not _EVENT_ID.fullmatch(text):
        detail = f"Last-Event-ID must be the id of an event of this log, not {text[:40]!r}"
        raise HttpProblem(400, "invalid-last-event-id", detail)
    return int(text) if text else None
