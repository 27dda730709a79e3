"""Appends that are tried again: when, with what, and what is known in the end."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from client.answers import AppendedMany
from client.api import Node
from client.errors import (
    EndMismatchError,
    KeyReusedError,
    NodeError,
    NotReachedInTimeError,
    RefusedError,
    UnreachableError,
)
from tests.unit.answering import hang_up, node_answering, problem

SAFE = {"appended": "no", "retry": "safe"}
UNSURE = {"appended": "unknown", "retry": "same-key"}


class Master:
    """Appends what it is asked, once for each key; what it answers is told by `fates`, then it is well."""

    def __init__(self, *fates: str) -> None:
        self.log: list[str] = []
        self.asked: list[tuple[str, str | None, float]] = []
        self._keys: dict[str, int] = {}
        self._fates: Iterator[str] = iter(fates)

    async def serve(self, request: web.Request) -> web.Response:
        if request.method == "GET":
            body, key = {"timeout": request.query["timeout"]}, ""
        else:
            body, key = await request.json(), request.headers["Idempotency-Key"]
        self.asked.append((key, request.headers.get("If-Match"), float(body["timeout"])))
        match next(self._fates, "well"):
            case "dies before":
                return hang_up(request)
            case "dies after":
                self._append(key, body["message"])
                return hang_up(request)
            case "starting":
                return problem(503, **SAFE)
            case "fails":
                self._append(key, body["message"])
                return problem(500, **UNSURE)
            case "ends elsewhere":
                return problem(412, appended="no", retry="no", end_offset=7)
            case "has the key":
                return problem(422, appended="no", retry="no")
            case "late":
                self._append(key, body.get("message", ""))
                return problem(504, appended="yes", retry="same-key", offset=0, acked=["master"], missing=["node1"])
            case "refuses":
                return problem(400, appended="no", retry="no")
        was_there = key in self._keys
        offset = self._append(key, body.get("message", ""))
        outcome = {"offset": offset, "epoch": 1, "w": 1, "acks": [], "elapsed_ms": 1}
        headers = {"Idempotent-Replayed": "true"} if was_there else None
        return web.json_response(outcome, status=201, headers=headers)

    def _append(self, key: str, message: str) -> int:
        if key not in self._keys:
            self._keys[key] = len(self.log)
            self.log.append(message)
        return self._keys[key]


async def test_an_append_is_tried_again_with_its_key_until_it_is_answered() -> None:
    master = Master("starting", "dies before", "dies after", "fails", "starting")
    async with node_answering(master.serve) as node:
        appended = await node.append("once")
    assert (appended.offset, appended.replayed) == (0, True)
    assert master.log == ["once"]
    keys, _, timeouts = zip(*master.asked, strict=True)
    assert (len(keys), len(set(keys))) == (6, 1)
    assert list(timeouts) == sorted(timeouts, reverse=True), "each attempt has the time that is left"
    assert timeouts[0] == 60.0 > timeouts[-1]


async def test_every_append_has_a_key_of_its_own() -> None:
    master = Master()
    async with node_answering(master.serve) as node:
        assert [(await node.append("same")).replayed for _ in range(3)] == [False] * 3
    assert master.log == ["same"] * 3


async def test_the_callers_key_and_end_are_sent() -> None:
    master = Master("starting")
    async with node_answering(master.serve) as node:
        assert not (await node.append("a", key="my key", if_end=3)).replayed
        assert (await node.append("a", key="my key")).replayed
    assert [(key, end) for key, end, _ in master.asked] == [("my key", '"3"'), ("my key", '"3"'), ("my key", None)]


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "ключ"])
async def test_what_can_be_no_key_is_not_sent(key: str) -> None:
    master = Master()
    async with node_answering(master.serve) as node:
        with pytest.raises(ValueError, match="printable ASCII"):
            await node.append("a", key=key)
    assert not master.asked


@pytest.mark.parametrize(
    ("fate", "error"),
    [("refuses", RefusedError), ("ends elsewhere", EndMismatchError), ("has the key", KeyReusedError)],
)
async def test_a_last_word_is_not_asked_for_again(fate: str, error: type[NodeError]) -> None:
    master = Master(fate)
    async with node_answering(master.serve) as node:
        with pytest.raises(error) as caught:
            await node.append("a")
        assert len(master.asked) == 1
        if isinstance(caught.value, EndMismatchError):
            assert caught.value.end_offset == 7


async def test_what_may_have_been_appended_stays_unknown_until_the_node_knows() -> None:
    master = Master("dies after", *["starting"] * 100)
    async with node_answering(master.serve) as node:
        with pytest.raises(RefusedError) as refused:
            await node.append("a", timeout_s=0.3)
    assert (refused.value.status, refused.value.appended) == (503, "unknown")
    assert len(master.asked) > 1

    async with node_answering(Master("dies before", "ends elsewhere").serve) as node:
        with pytest.raises(EndMismatchError) as mismatch:
            await node.append("a")
    assert mismatch.value.appended == "no"

    async with node_answering(Master(*["starting"] * 100).serve) as node:
        with pytest.raises(RefusedError) as refused:
            await node.append("a", timeout_s=0.3)
    assert refused.value.appended == "no"


async def test_a_node_that_wants_to_be_left_alone_for_longer_than_there_is_time_is_left_alone() -> None:
    asked = []

    async def busy(request: web.Request) -> web.Response:
        asked.append(request)
        answer = problem(503, **SAFE)
        answer.headers["Retry-After"] = "3600"
        return answer

    async with node_answering(busy) as node:
        with pytest.raises(RefusedError):
            await node.append("a")
    assert len(asked) == 1


async def test_a_master_that_is_not_up_yet_is_waited_for_unless_that_is_not_wanted() -> None:
    master, port = Master(), unused_port()
    url = f"http://127.0.0.1:{port}"
    async with Node(url, wait_until_up=False) as impatient:
        with pytest.raises(UnreachableError):
            await impatient.append("never sent")
    app = web.Application()
    app.router.add_post("/messages", master.serve)
    async with Node(url) as node, asyncio.TaskGroup() as tasks:
        appending = tasks.create_task(node.append("a"))
        with pytest.raises(TimeoutError):  # so that some attempts fail before the master comes up
            await asyncio.wait_for(asyncio.shield(appending), 0.3)
        async with TestServer(app, port=port):
            assert (await appending).offset == 0
    assert master.log == ["a"]


async def test_who_does_not_want_to_wait_for_a_master_still_outlasts_its_restart() -> None:
    master = Master("dies after", "dies before")
    async with node_answering(master.serve) as node, Node(node.url, wait_until_up=False) as impatient:
        assert (await impatient.append("a")).replayed
    assert master.log == ["a"]


async def test_many_messages_are_one_request_of_json_lines() -> None:
    asked: list[tuple[str, dict[str, str], list[object]]] = []

    async def take(request: web.Request) -> web.Response:
        lines = [json.loads(line) for line in (await request.text()).splitlines()]
        asked.append((request.headers["Content-Type"], dict(request.query), lines))
        if len(asked) == 1:
            return hang_up(request)
        outcome = {"first_offset": 5, "count": 3, "epoch": 2, "w": 3, "acks": [], "elapsed_ms": 1.5}
        return web.json_response(outcome, status=201, headers={"Idempotent-Replayed": "true"})

    messages = ["a", "two\nlines \u2028", "x" * 2**21]
    async with node_answering(take) as node:
        many = await node.append_many(messages, "all", timeout_s=9)
    assert many == AppendedMany(5, 3, 2, 3, (), 1.5, replayed=True)
    assert len(asked) == 2
    kind, query, lines = asked[0]
    assert (kind, query, lines) == ("application/x-ndjson", {"w": "all", "timeout": "9.0"}, messages)


async def test_a_wait_goes_on_after_a_lost_connection() -> None:
    master = Master("dies before", "starting")
    async with node_answering(master.serve) as node:
        assert (await node.wait_for(0, 3)).offset == 0
    assert len(master.asked) == 3


async def test_a_wait_that_ends_early_goes_on_at_the_next_master() -> None:
    master = Master("late", "dies before", "starting")
    async with node_answering(master.serve) as node:
        assert (await node.append("a", "all")).replayed
    assert master.log == ["a"]


async def test_what_was_appended_for_sure_is_the_last_word_even_when_the_master_is_gone() -> None:
    async with node_answering(Master("dies after", "late", *["dies before"] * 100).serve) as node:
        with pytest.raises(NotReachedInTimeError) as caught:
            await node.append("a", timeout_s=0.4)
    assert (caught.value.offset, caught.value.appended) == (0, "yes")


async def test_a_wait_in_vain_tells_who_holds_the_record() -> None:
    async with node_answering(Master(*["late"] * 100).serve) as node:
        with pytest.raises(NotReachedInTimeError) as caught:
            await node.wait_for(0, 3, timeout_s=0.2)
    assert (caught.value.acked, caught.value.missing) == (("master",), ("node1",))
