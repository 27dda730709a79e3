"""POST /messages and POST /, taken; and GET /messages/{offset}?w=."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from io import BytesIO
from typing import Any, Final

import pytest

from tests.cluster import Cluster, Node, eventually
from tests.integration.conftest import NewCluster

JSON: Final = "application/json"
TEXT: Final = "text/plain"
LINES: Final = "application/x-ndjson"
KEY: Final = "Idempotency-Key"


@pytest.fixture
async def master(new_cluster: NewCluster) -> AsyncIterator[Cluster]:
    """A master alone."""
    async with new_cluster({}) as cluster:
        yield await cluster.started()


@pytest.fixture
async def master_of_three(new_cluster: NewCluster) -> AsyncIterator[Cluster]:
    """A master that reaches w=1 and no more: its secondaries are not there."""
    async with new_cluster({"node1": {}, "node2": {}}) as cluster:
        cluster.master.start()

        async def is_appended() -> bool:
            return (await post(cluster, b"first", path="/messages?w=1"))[0] == 201

        await eventually(is_appended, "the master appends")
        yield cluster


async def post(
    cluster: Cluster, body: bytes, kind: str = TEXT, path: str = "/messages", **headers: str
) -> tuple[int, Mapping[str, str], dict[str, Any]]:
    """Status, headers and the JSON of the answer. ``key`` and ``if_match`` are headers by their short names."""
    names = {"key": KEY, "if_match": "If-Match"}
    sent = {"Content-Type": kind, "Accept": JSON, **{names[name]: value for name, value in headers.items()}}
    async with cluster.http.post(cluster.master.url + path, data=BytesIO(body), headers=sent) as response:
        return response.status, response.headers, await response.json(content_type=None)


async def wait(cluster: Cluster, query: str) -> tuple[int, Mapping[str, str], dict[str, Any]]:
    async with cluster.http.get(f"{cluster.master.url}/messages/{query}") as response:
        return response.status, response.headers, await response.json(content_type=None)


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        pytest.param(JSON, b'{"message": "text"}', "text", id="json"),
        pytest.param(JSON, b' {"timeout": 1e1, "w": 1, "message": "w=2 text"} ', "w=2 text", id="json, all fields"),
        pytest.param("Application/JSON; Charset=UTF-8", b'{"message": "text"}', "text", id="json, in capitals"),
        pytest.param(JSON, b'{"message": "a\\u0000b"}', "a\0b", id="json, NUL"),
        pytest.param(JSON, b'{"message": "\\ud83d\\ude00"}', "\U0001f600", id="json, surrogate pair"),
        pytest.param(JSON, b'{"message": "%s"}' % (b"\\u0001" * 2**20), "\1" * 2**20, id="json, six times as long"),
        pytest.param(JSON, b'{"message": "%s"}' % (b"[{:," * 2**18), "[{:," * 2**18, id="json, JSON in it"),
        pytest.param(TEXT, b"text", "text", id="text"),
        pytest.param(TEXT, b"w=2 text\r\n", "w=2 text\r\n", id="text, as it is"),
        pytest.param(TEXT, b"\0", "\0", id="text, NUL"),
        pytest.param(TEXT, b"\xef\xbb\xbftext", "\ufefftext", id="text, byte order mark"),
        pytest.param(TEXT, b"x" * 2**20, "x" * 2**20, id="text, as long as may be"),
        pytest.param(LINES, b'"text"', "text", id="lines, one"),
        pytest.param(LINES, b'{"message": "a\\nb"}\r\n', "a\nb", id="lines, an object"),
    ],
)
async def test_a_message_is_taken_as_it_is(master: Cluster, kind: str, body: bytes, message: str) -> None:
    status, headers, answer = await post(master, body, kind)
    assert (status, answer["offset"], headers["Location"]) == (201, 0, "/messages/0")
    assert await master.master.messages() == [message]


async def test_the_answer_tells_who_has_it_since_when(cluster: Cluster) -> None:
    status, headers, answer = await post(cluster, b"text", path="/messages?w=majority&timeout=60.5")
    assert (status, headers["Location"]) == (201, "/messages/0")
    elapsed_ms, acks = answer.pop("elapsed_ms"), answer.pop("acks")
    assert answer == {"offset": 0, "epoch": 1, "w": 2, "write_concern": "majority"}
    assert acks[0]["node"] == "master"
    assert acks[1]["node"] in {"node1", "node2"}
    assert all(0 < ack["ms"] <= elapsed_ms for ack in acks)


async def test_many_messages_are_one_append(cluster: Cluster) -> None:
    await post(cluster, b"first")
    status, headers, answer = await post(cluster, b'"a"\n{"message": "b"}\n"c"\n', LINES, "/messages?w=3")
    assert (status, headers["Location"]) == (201, "/messages/1")
    assert (answer["first_offset"], answer["count"], answer["offset"], answer["w"]) == (1, 3, 1, 3)
    assert len(answer["acks"]) == 3
    assert await cluster.converged() == ["first", "a", "b", "c"]


async def test_as_many_messages_as_a_batch_holds_are_one_append(master: Cluster) -> None:
    many = [f"{number}" for number in range(10_000)]
    status, _, answer = await post(master, "\n".join(map(json.dumps, many)).encode(), LINES)
    assert (status, answer["first_offset"], answer["count"]) == (201, 0, 10_000)
    large = ["\1" * 2**20] * 3 + ["\1" * (2**20 - 1000)]
    status, _, answer = await post(master, "\n".join(map(json.dumps, large)).encode(), LINES)
    assert (status, answer["first_offset"], answer["count"]) == (201, 10_000, 4)
    assert await master.master.messages() == many + large


async def test_without_w_the_setting_counts(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {}, "node2": {}}) as cluster:
        cluster.master.environ["REPLOG_DEFAULT_W"] = "majority"
        await cluster.started()
        for kind, path, body in (
            (TEXT, "/messages", b"text"),
            (JSON, "/messages", b'{"message": "text"}'),
            (LINES, "/messages", b'"text"'),
            (TEXT, "/", b"text"),
            (JSON, "/", b'{"message": "text"}'),
        ):
            _, _, answer = await post(cluster, body, kind, path)
            assert (answer["w"], answer["write_concern"]) == (2, "majority")
        assert (await wait(cluster, "0?w=all"))[2]["w"] == 3


async def test_a_write_concern_not_reached_in_time_is_an_error_that_tells_where_the_message_is(
    master_of_three: Cluster,
) -> None:
    for number, (kind, body, path) in enumerate(
        (
            (TEXT, b"text", "/messages?w=2&timeout=0.1"),
            (JSON, b'{"message": "text", "w": 2, "timeout": 0.1}', "/messages"),
            (LINES, b'"text"', "/messages?w=2&timeout=0.1"),
            (JSON, b'{"message": "text", "w": 2, "timeout": 0.1}', "/"),
        ),
        1,
    ):
        status, headers, problem = await post(master_of_three, body, kind, path)
        assert (status, problem["code"], problem["appended"], problem["retry"]) == (
            504,
            "write-concern-timeout",
            "yes",
            "same-key",
        )
        assert (problem["offset"], headers["Location"]) == (number, f"/messages/{number}")
        assert (problem["w"], problem["acked"], problem["missing"]) == (2, ["master"], ["node1", "node2"])
    assert await master_of_three.master.messages() == ["first"] + ["text"] * 4


async def test_before_the_commit_a_timeout_says_unknown_and_the_retry_finds_out(new_cluster: NewCluster) -> None:
    """A master that waits to hear its secondaries commits nothing."""
    async with new_cluster({"node1": {}}) as cluster:
        cluster.master.start()
        await eventually(cluster.master.status, "the master serves")
        refused = set()
        while True:
            status, headers, answer = await post(cluster, b"text", path="/messages?w=1&timeout=0.1", key="k")
            if status == 201:
                break
            refused.add((status, answer["code"], answer["appended"], answer["retry"]))
        assert refused == {(504, "commit-timeout", "unknown", "same-key")}
        assert headers["Idempotent-Replayed"] == "true"
        assert await cluster.master.messages() == ["text"]


async def test_without_a_required_quorum_nothing_is_appended(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {}, "node2": {}}) as cluster:
        cluster.master.environ["REPLOG_REQUIRE_QUORUM"] = "1"
        cluster.master.start()
        await eventually(cluster.master.status, "the master serves")
        status, _, problem = await post(cluster, b"text", path="/messages?w=1")
        assert (status, problem["code"], problem["appended"], problem["retry"]) == (503, "read-only", "no", "safe")
        assert await cluster.master.messages() == []


async def test_a_retry_with_its_key_is_the_same_append_in_every_form(master_of_three: Cluster) -> None:
    """Also after a restart of the master, and for another write concern than the first time."""
    status, headers, _ = await post(master_of_three, b"text", path="/messages?w=2&timeout=0.1", key="k 1")
    assert (status, headers.get("Idempotent-Replayed")) == (504, None)
    again = (
        (TEXT, b"text", "/messages?w=1"),
        (JSON, b'{"w": 1, "message": "\\u0074ext"}', "/messages"),
        (LINES, b'"text"\n', "/messages?w=1"),
        (TEXT, b"w=1 text", "/"),
    )
    for _ in range(2):
        for kind, body, path in again:
            status, headers, answer = await post(master_of_three, body, kind, path, key="k 1")
            assert (status, answer["offset"]) == (200 if path == "/" else 201, 1)
            assert (headers["Idempotent-Replayed"], headers["Location"]) == ("true", "/messages/1")
            assert answer["epoch"] == 1
        status, headers, problem = await post(master_of_three, b"text", path="/messages?w=2&timeout=0.1", key="k 1")
        assert (status, problem["appended"], problem["offset"]) == (504, "yes", 1)
        assert headers["Idempotent-Replayed"] == "true"
        master_of_three.master.stop()
        master_of_three.master.start()
        await eventually(master_of_three.master.status, "the master is back")
    assert await master_of_three.master.messages() == ["first", "text"]


async def test_many_messages_have_one_key(master: Cluster) -> None:
    assert (await post(master, b'"a"\n"b"', LINES, key="k"))[2]["first_offset"] == 0
    _, headers, answer = await post(master, b'{"message": "a"}\n{"message": "b"}\n', LINES, key="k")
    assert (answer["first_offset"], answer["count"], headers["Idempotent-Replayed"]) == (0, 2, "true")
    for other in (b'"a"', b'"ab"', b'"b"\n"a"', b'"a"\n"b"\n"c"'):
        status, _, problem = await post(master, other, LINES, key="k")
        assert (status, problem["code"]) == (422, "key-reused")
    assert await master.master.messages() == ["a", "b"]


async def test_retries_at_once_are_one_append(cluster: Cluster) -> None:
    async with asyncio.TaskGroup() as tasks:
        posts = [tasks.create_task(post(cluster, b"text", path="/messages?w=2", key="k")) for _ in range(20)]
    answers = [task.result() for task in posts]
    assert {(status, answer["offset"]) for status, _, answer in answers} == {(201, 0)}
    assert sum("Idempotent-Replayed" not in headers for _, headers, _ in answers) == 1
    assert await cluster.converged() == ["text"]


async def test_of_many_who_expect_the_same_end_one_appends(master: Cluster) -> None:
    async with asyncio.TaskGroup() as tasks:
        posts = [tasks.create_task(post(master, b"%d" % number, if_match='"0"')) for number in range(20)]
    answers = [task.result() for task in posts]
    assert sorted(status for status, _, _ in answers) == [201] + [412] * 19
    assert {answer["end_offset"] for status, _, answer in answers if status == 412} == {1}
    assert len(await master.master.messages()) == 1


async def test_a_refusal_uses_up_no_key_and_a_key_goes_before_the_end(master: Cluster) -> None:
    assert (await post(master, b"text", key="k", if_match='"7"'))[0] == 412
    assert (await post(master, b"other", key="k", if_match='"0"'))[0] == 201
    status, headers, answer = await post(master, b"other", key="k", if_match='"0"')
    assert (status, answer["offset"], headers["Idempotent-Replayed"]) == (201, 0, "true")


async def test_the_write_concern_of_a_record_that_exists_can_be_waited_for(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {}, "node2": {}}) as cluster:
        cluster.master.start()
        cluster["node1"].start()
        assert (await _when_it_appends(cluster.master, w=2))["offset"] == 0
        status, headers, problem = await wait(cluster, "0?w=3&timeout=0.1")
        assert (status, problem["appended"], problem["retry"]) == (504, "yes", "safe")
        assert (problem["missing"], headers["Location"]) == (["node2"], "/messages/0")
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(wait(cluster, "0?w=all&timeout=60"))
            cluster["node2"].start()
        status, _, answer = waiting.result()
        assert (status, answer["offset"], answer["w"], answer["write_concern"]) == (200, 0, 3, "all")
        assert {ack["node"] for ack in answer["acks"]} == {"master", "node1", "node2"}


async def test_a_client_who_goes_away_takes_no_append_with_it_and_waits_no_longer(master_of_three: Cluster) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", master_of_three.master.port)
    writer.write(b"POST /messages?w=2 HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nlast")

    async def waits() -> bool:
        return bool((await master_of_three.master.status())["waiting"] == 1)

    await eventually(waits, "the master waits for copies")
    writer.close()

    async def waits_no_longer() -> bool:
        return bool((await master_of_three.master.status())["waiting"] == 0)

    await eventually(waits_no_longer, "nobody waits")
    assert await master_of_three.master.messages() == ["first", "last"]


async def _when_it_appends(master: Node, **fields: Any) -> dict[str, Any]:
    """Append once the master is ready to."""

    async def appended() -> dict[str, Any] | None:
        status, answer = await master.post("message", **fields)
        return answer if status == 201 else None

    answer: dict[str, Any] = await eventually(appended, "the master appends")
    return answer


async def test_large_messages_that_wait_for_copies_take_no_room_from_others(master_of_three: Cluster) -> None:
    large, at_once, number = (
        b"x" * 2**20,
        26,
        130,
    )  # All are above what bodies may take, as many as come at once are not.

    async with asyncio.TaskGroup() as clients:
        waiting: list[asyncio.Task[object]] = []

        async def are_appended() -> bool:
            return bool((await master_of_three.master.status())["end_offset"] == 1 + len(waiting))

        while len(waiting) < number:
            posts = [post(master_of_three, large, path="/messages?w=all&timeout=600") for _ in range(at_once)]
            waiting += [clients.create_task(one) for one in posts]
            await eventually(are_appended, "those who wait are on the master's disk")
        assert (await post(master_of_three, b"small", path="/messages?w=1"))[0] == 201
        for client in waiting:
            client.cancel()
