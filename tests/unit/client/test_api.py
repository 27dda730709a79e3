"""The HTTP client against one that answers as it is told."""

import asyncio
import json
from contextlib import AbstractAsyncContextManager

import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port

from client import api, wire
from client.answers import Ack, Appended, Page, Record, SecondaryProgress
from client.api import Node
from client.errors import (
    AnswerTooLongError,
    NodeError,
    NotReachedInTimeError,
    RefusedError,
    UnexpectedAnswerError,
    UnreachableError,
)
from tests.unit.answering import hang_up, node_answering

APPENDED = {
    "offset": 4,
    "epoch": 1,
    "w": 2,
    "write_concern": "2",
    "acks": [{"node": "master", "ms": 1}, {"node": "node1", "ms": 2.5}],
    "elapsed_ms": 2.6,
}


def node_with(body: object, status: int = 200) -> AbstractAsyncContextManager[Node]:
    """A node that answers everything with `body`: bytes as they are, anything else as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=raw, status=status, content_type="application/json" if status < 300 else "text/html")

    return node_answering(answer)


def record(offset: int, message: str = "m") -> dict[str, object]:
    return {"offset": offset, "epoch": 1, "time": "2026-11-22T13:51:08.123Z", "message": message}


async def test_append_asks_in_json_and_returns_who_holds_the_record() -> None:
    asked: list[object] = []
    keys: set[str] = set()

    async def append(request: web.Request) -> web.Response:
        asked.append((request.method, request.path, request.headers["Accept"], await request.json()))
        keys.add(request.headers["Idempotency-Key"])
        return web.json_response(APPENDED, status=201)

    async with node_answering(append) as node:
        appended = await node.append("text", 2, timeout_s=5.0)
        await node.append_clamped("text", 9, timeout_s=5.0)
        await node.append("text", timeout_s=5.0)
    assert appended == Appended(4, 1, 2, (Ack("master", 1), Ack("node1", 2.5)), 2.6)
    assert asked == [
        ("POST", "/messages", "application/json", {"message": "text", "w": 2, "timeout": 5.0}),
        ("POST", "/", "application/json", {"message": "text", "w": 9, "timeout": 5.0}),
        ("POST", "/messages", "application/json", {"message": "text", "timeout": 5.0}),
    ]
    assert len(keys) == 3, "a key for each append"


async def test_a_write_not_reached_in_time_tells_offset_and_nodes() -> None:
    problem = {"title": "Gateway Timeout", "status": 504, "detail": "late", "code": "timeout", "appended": "yes"}
    async with node_with({**problem, "offset": 7, "acked": ["master"], "missing": ["node1"]}, 504) as node:
        with pytest.raises(NotReachedInTimeError) as caught:
            await node.append("text")
    assert (caught.value.offset, caught.value.acked, caught.value.missing) == (7, ("master",), ("node1",))
    assert caught.value.appended == "yes"


@pytest.mark.parametrize(
    ("problem", "status", "appended"),
    [
        ({"title": "Bad Request", "detail": "w is nonsense", "code": "w", "appended": "no"}, 400, "no"),
        ({"title": "Forbidden", "detail": "write to the master"}, 403, "no"),
        ({"title": "Service Unavailable", "appended": "unknown"}, 503, "unknown"),
        ({"title": "Internal Server Error", "detail": None}, 500, "unknown"),
        ({"title": "Gateway Timeout", "appended": "no", "detail": "queue"}, 504, "no"),
    ],
)
async def test_a_problem_is_a_refusal_that_says_whether_it_was_appended(
    problem: dict[str, object], status: int, appended: str
) -> None:
    async with node_with(problem, status) as node:
        with pytest.raises(RefusedError) as caught:
            await node.append("text")
    assert (caught.value.status, caught.value.title, caught.value.appended) == (status, problem["title"], appended)
    assert str(caught.value).startswith(str(problem["title"]))


async def test_a_node_that_is_down_has_appended_nothing() -> None:
    async with Node(f"http://127.0.0.1:{unused_port()}/", "node2", wait_until_up=False) as node:
        with pytest.raises(UnreachableError, match=r"^node2 \(http://127.0.0.1:\d+\) is not reachable\.$") as caught:
            await node.append("text")
    assert caught.value.appended == "no"


async def test_a_host_name_that_cannot_be_one_is_not_reachable() -> None:
    async with Node("http://a..b") as node:
        with pytest.raises(UnreachableError):
            await node.status()


async def test_a_connection_lost_during_an_append_leaves_it_unknown() -> None:
    async def die(request: web.Request) -> web.Response:
        return hang_up(request)

    async with node_answering(die) as node:
        with pytest.raises(UnreachableError) as caught:
            await node.append("text", timeout_s=0.1)
        assert caught.value.appended == "unknown"
        with pytest.raises(UnreachableError) as caught:
            await node.status()
        assert caught.value.appended == "no"


async def test_no_answer_in_time_leaves_it_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_GRACE_S", 0.0)

    async def never(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with node_answering(never) as node:
        with pytest.raises(UnreachableError, match=r"did not answer within 0\.05 seconds") as caught:
            await node.append("text", timeout_s=0.05)
    assert caught.value.appended == "unknown"


GARBAGE = [b"", b"<html>It works!</html>", b"\xff\xfe", b"null", b"[]", b"7", b"{}", b"[" * 100_000, b"9" * 5_000]
GARBAGE += [b'{"offset": "4", "epoch": 1, "w": 1, "acks": [], "elapsed_ms": 1}']
GARBAGE += [b'{"messages": [{"offset": 0}], "end_offset": 1}', b'{"messages": {"0": 1}, "end_offset": 1}']


@pytest.mark.parametrize("status", [200, 302, 404, 502, 504])
@pytest.mark.parametrize("body", GARBAGE)
async def test_garbage_is_told_from_an_answer(body: bytes, status: int) -> None:
    async with node_with(body, status) as node:
        for request in (node.status(), node.read(), node.append("text")):
            with pytest.raises(UnexpectedAnswerError, match="does not answer like a ReplicatedLog node"):
                await request


async def test_something_that_is_no_http_at_all_is_told_from_an_answer() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"220 mail.example.com ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1")
    async with server, Node(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as node:
        with pytest.raises(UnexpectedAnswerError):
            await node.status()


async def test_an_endless_answer_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_MAX_ANSWER_BYTES", 100_000)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65_536)

    async with node_answering(endless) as node:
        with pytest.raises(AnswerTooLongError):
            await node.read()


class LogOf:
    """GET /messages of a log of `end` records; remembers what was asked."""

    def __init__(self, end: int, at_most: int = 1000, message: str = "m") -> None:
        self.asked: list[tuple[int, int]] = []
        self._end = end
        self._at_most = at_most
        self._message = message

    async def serve(self, request: web.Request) -> web.Response:
        start, limit = int(request.query["from"]), int(request.query["limit"])
        self.asked.append((start, limit))
        stop = min(start + min(limit, self._at_most), self._end)
        messages = [record(offset, self._message) for offset in range(start, stop)]
        return web.json_response({"messages": messages, "end_offset": self._end})


async def test_a_page_holds_consecutive_records_and_the_end() -> None:
    async with node_answering(LogOf(5).serve) as node:
        assert await node.read(3) == Page(
            (Record(3, 1, "2026-11-22T13:51:08.123Z", "m"), Record(4, 1, "2026-11-22T13:51:08.123Z", "m")), 5
        )
        assert await node.read(5) == Page((), 5)


async def test_records_come_page_by_page_in_order() -> None:
    log = LogOf(2500)
    async with node_answering(log.serve) as node:
        assert [one.offset async for one in node.records(100, 2400)] == list(range(100, 2400))
    assert log.asked == [(100, 1000), (1100, 1000), (2100, 300)]


async def test_records_go_on_behind_pages_shorter_than_asked_and_end_with_the_log() -> None:
    async with node_answering(LogOf(7, at_most=3).serve) as node:
        assert [one.offset async for one in node.records(0, 100)] == list(range(7))


async def test_pages_get_smaller_until_they_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_MAX_ANSWER_BYTES", 50_000)
    log = LogOf(100, message="m" * 5_000)
    async with node_answering(log.serve) as node:
        assert [one.offset async for one in node.records(0, 100)] == list(range(100))
        assert log.asked[-1][1] <= 9
    async with node_answering(LogOf(2, message="m" * 50_000).serve) as node:
        with pytest.raises(AnswerTooLongError):
            _ = [one async for one in node.records(0, 2)]


@pytest.mark.parametrize(
    "page",
    [
        {"messages": [record(1)], "end_offset": 2},
        {"messages": [record(0), record(2)], "end_offset": 3},
        {"messages": [], "end_offset": 3},
    ],
)
async def test_records_with_a_gap_are_never_returned(page: object) -> None:
    async with node_with(page) as node:
        with pytest.raises(UnexpectedAnswerError):
            _ = [one async for one in node.records(0, 3)]


async def test_status_of_a_master_shows_its_secondaries() -> None:
    status = {
        "name": "master", "role": "master", "log": "main", "log_id": "ab", "epoch": 1, "end_offset": 3,
        "committed_end": 3, "nodes": 3, "broker": "connected", "read_only": None, "observers": [],
        "secondaries": [
            {"name": "node1", "state": "healthy", "acked_end": 3, "lag": 0, "last_seen_s": 0.4},
            {"name": "node2", "state": "unknown", "acked_end": 0, "lag": 3, "last_seen_s": None},
        ],
    }  # fmt: skip
    async with node_with(status) as node:
        told = await node.status()
    assert (told.role, told.committed_end, told.acked_end) == ("master", 3, None)
    assert told.secondaries[1] == SecondaryProgress("node2", "unknown", 0, 3, None)


async def test_status_of_a_secondary_that_has_joined_nothing_yet() -> None:
    status = {
        "name": "node1", "role": "secondary", "log": "main", "log_id": None, "epoch": 0, "end_offset": 0,
        "acked_end": 0, "state": "joining", "broker": "connected",
    }  # fmt: skip
    async with node_with(status) as node:
        told = await node.status()
    assert (told.log_id, told.state, told.secondaries) == (None, "joining", ())


async def test_a_node_can_be_entered_again() -> None:
    async with node_with({"messages": [], "end_offset": 0}) as node:
        await node.read()
        url = node.url
        other = Node(url)
        for _ in range(2):
            async with other:
                assert await other.read() == Page((), 0)


def test_every_error_is_a_node_error() -> None:
    errors = (UnreachableError, UnexpectedAnswerError, AnswerTooLongError, RefusedError, NotReachedInTimeError)
    assert all(issubclass(error, NodeError) for error in errors)
