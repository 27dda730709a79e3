"""Following a log whose node comes and goes."""

import json
import math
from contextlib import aclosing

import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port

from client import following
from client.api import Node
from client.errors import (
    AnswerTooLongError,
    LogChangedError,
    NodeError,
    RefusedError,
    UnexpectedAnswerError,
    UnreachableError,
)
from tests.unit.answering import hang_up, node_answering, problem


def event(offset: int) -> bytes:
    record = {"offset": offset, "epoch": 1, "time": "2026-11-22T13:51:08.123Z", "message": f"message {offset}"}
    return f"id: {offset}\ndata: {json.dumps(record)}\n\n".encode()


class Streams:
    """Answers one connection after the other with these bytes, and breaks it off; remembers what was asked."""

    def __init__(self, *streams: bytes | web.Response, log_ids: tuple[str, ...] = ()) -> None:
        self.asked: list[tuple[str | None, str | None]] = []
        self._streams = list(streams)
        self._log_ids = list(log_ids)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        assert request.headers["Accept"] == "text/event-stream"
        self.asked.append((request.query.get("from"), request.headers.get("Last-Event-ID")))
        stream = self._streams.pop(0)
        if isinstance(stream, web.Response):
            return stream
        response = web.StreamResponse()
        response.content_type = "text/event-stream"
        if self._log_ids:
            response.headers["Replog-Log-Id"] = self._log_ids.pop(0)
        await response.prepare(request)
        await response.write(stream)
        if stream:
            hang_up(request)
        return response


async def offsets(node: Node, start: int | None, count: int) -> list[int]:
    found: list[int] = []
    async with aclosing(node.follow(start)) as records:
        async for record in records:
            assert record.message == f"message {record.offset}"
            found.append(record.offset)
            if len(found) == count:
                break
    return found


async def test_records_come_once_and_in_order_over_connections_that_break() -> None:
    streams = Streams(
        b"id: 2\n\n" + event(3) + event(4) + event(5)[:-10],
        b": nothing new\n\n",
        problem(503, retry="safe"),
        b"",
        b"id: 4\n\n" + event(5) + event(6),
    )
    async with node_answering(streams.serve) as node:
        assert await offsets(node, 3, 4) == [3, 4, 5, 6]
    assert streams.asked == [("3", "2"), ("3", "4"), ("3", "4"), ("3", "4"), ("3", "4")]


@pytest.mark.parametrize(("start", "asked"), [(None, None), (-10, "-10")])
async def test_a_start_counted_from_the_end_stays_where_it_was(start: int | None, asked: str | None) -> None:
    streams = Streams(b"id: 7\n\n", event(8))
    async with node_answering(streams.serve) as node:
        assert await offsets(node, start, 1) == [8]
    assert streams.asked == [(asked, None), (asked, "7")]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (event(1), UnexpectedAnswerError),
        (b"data: {}\n\n", UnexpectedAnswerError),
        (b"data: \xff\n\n", UnexpectedAnswerError),
        (b"data: " + b"x" * 100_000, AnswerTooLongError),
        (web.Response(body=event(0), content_type="text/html"), UnexpectedAnswerError),
        (problem(400, retry="no"), RefusedError),
    ],
)
async def test_what_can_not_be_followed_is_an_error(
    answer: bytes | web.Response, error: type[NodeError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_MAX_EVENT_BYTES", 50_000)
    async with node_answering(Streams(answer).serve) as node:
        with pytest.raises(error):
            await offsets(node, 0, 1)


@pytest.mark.parametrize("offset", [0, 2])
async def test_a_record_that_is_not_the_next_one_is_never_given_back(offset: int) -> None:
    async with node_answering(Streams(event(0) + event(offset)).serve) as node:
        with pytest.raises(UnexpectedAnswerError):
            await offsets(node, 0, 2)


async def test_an_id_that_is_no_offset_is_an_error() -> None:
    async with node_answering(Streams(b"id: x\n\n").serve) as node:
        with pytest.raises(UnexpectedAnswerError):
            await offsets(node, None, 1)


async def test_a_node_that_comes_back_with_another_log_is_not_followed_further() -> None:
    async with node_answering(Streams(event(0), event(1), log_ids=("one", "another")).serve) as node:
        with pytest.raises(LogChangedError):
            await offsets(node, 0, 2)


async def test_a_node_that_stays_away_is_given_up() -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    async with Node(url) as node, Node(url, wait_until_up=False) as impatient:
        for records in (node.follow(patience_s=0.2), impatient.follow(patience_s=math.inf)):
            with pytest.raises(UnreachableError):
                await anext(records)
