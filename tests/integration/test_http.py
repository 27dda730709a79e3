"""The HTTP facade: the seed's form, and what is read."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.cluster import Cluster, eventually
from tests.integration.conftest import NewCluster

pytestmark = pytest.mark.slow

JSON = {"Content-Type": "application/json"}
TEXT = {"Content-Type": "text/plain"}


@pytest.fixture
async def master(new_cluster: NewCluster) -> AsyncIterator[Cluster]:
    async with new_cluster({}) as cluster:
        yield await cluster.started()


async def request(cluster: Cluster, method: str, path: str, **kwargs: Any) -> tuple[int, str, bytes]:
    async with cluster.http.request(method, cluster.master.url + path, **kwargs) as response:
        return response.status, response.content_type, await response.read()


@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        (b'{"message": "text"}', JSON, "text"),
        (b'{"message": "w=1 text"}', JSON, "text"),
        (b'{"message": "w=all text"}', JSON, "text"),
        (b'{"message": "w=1text"}', JSON, "text"),
        (b'{"message": "w=allow me"}', JSON, "w=allow me"),
        (b'{"message": "w=1 text", "w": 1}', JSON, "w=1 text"),
        (b'{"message": "w=-7 clamped"}', JSON, "clamped"),
        (b'{"message": "clamped", "w": 99999999999999999999999}', JSON, "clamped"),
        (b'{"message": "text", "from another time": true}', JSON, "text"),
        (b"w=0 text", TEXT, "text"),
        (b"text", TEXT, "text"),
        (b"w=1  two blanks", TEXT, " two blanks"),
        ("w=1 \u00e9t\u00e9".encode(), TEXT, "\u00e9t\u00e9"),
    ],
)
async def test_the_seeds_forms_are_taken(master: Cluster, body: bytes, headers: dict[str, str], message: str) -> None:
    answer = await request(master, "POST", "/", data=body, headers=headers)
    assert answer == (200, "text/plain", f"Message received: {message}".encode())
    assert await master.master.messages() == [message]


async def test_the_seeds_answer_is_json_for_those_who_accept_it(master: Cluster) -> None:
    headers = {**JSON, "Accept": "application/json"}
    async with master.http.post(master.master.url, data=b'{"message": "text"}', headers=headers) as response:
        answer = await response.json()
    assert {key: answer[key] for key in ("offset", "epoch", "w", "write_concern")} == {
        "offset": 0,
        "epoch": 1,
        "w": 1,
        "write_concern": "all",
    }
    assert [ack["node"] for ack in answer["acks"]] == ["master"]
    assert answer["elapsed_ms"] >= answer["acks"][0]["ms"] > 0


async def test_messages_are_listed_by_offset_and_limit(master: Cluster) -> None:
    for n in range(5):
        await master.master.append(f"message {n}")
    page = await master.master.get("/messages?from=1&limit=2")
    assert page["end_offset"] == 5
    assert [(record["offset"], record["epoch"], record["message"]) for record in page["messages"]] == [
        (1, 1, "message 1"),
        (2, 1, "message 2"),
    ]
    assert page["messages"][0]["time"].endswith("Z")
    assert (await master.master.get("/messages?from=5"))["messages"] == []
    assert len((await master.master.get("/messages"))["messages"]) == 5
    for query in ("from=x", "limit=0", "limit=1001", "limit=1e3"):
        status, kind, _ = await request(master, "GET", f"/messages?{query}")
        assert (status, kind) == (400, "application/problem+json")


async def test_a_log_is_listed_whole_as_text_and_as_json(master: Cluster) -> None:
    assert await request(master, "GET", "/") == (200, "text/plain", b"")
    assert await master.master.messages() == []
    messages = [f"{n} " + "x" * 10_000 for n in range(400)]
    async with asyncio.TaskGroup() as clients:
        for message in messages:
            clients.create_task(master.master.append(message))
    assert sorted(await master.master.messages()) == sorted(messages)
    _, _, text = await request(master, "GET", "/")
    assert text.decode().split(",\n") == await master.master.messages()


async def test_a_secondary_serves_reads_and_refuses_writes(cluster: Cluster) -> None:
    await cluster.master.append("message", w=3)
    node1 = cluster["node1"]
    assert await node1.messages() == ["message"]
    status, problem = await node1.post("not here")
    assert (status, problem["code"], problem["appended"]) == (403, "not-the-master", "no")
    assert "write to the master" in problem["detail"]


async def test_status_tells_who_holds_what(cluster: Cluster) -> None:
    await cluster.master.append("message", w=3)
    status = await cluster.master.status()
    assert (status["name"], status["role"], status["epoch"], status["end_offset"]) == ("master", "master", 1, 1)
    for secondary in status["secondaries"]:
        assert (secondary["acked_end"], secondary["lag"], secondary["state"]) == (1, 0, "healthy")
        assert 0 <= secondary["last_seen_s"] < 60

    async def is_following() -> bool:
        return bool((await cluster["node1"].status())["acked_end"] == 1)

    await eventually(is_following, "node1 has acked")
    node_status = await cluster["node1"].status()
    assert (node_status["name"], node_status["role"], node_status["state"]) == ("node1", "secondary", "following")
    assert node_status["log_id"] == status["log_id"]
