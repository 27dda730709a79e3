"""GET and PUT /simulation: what a secondary simulates, changed while it runs."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.cluster import Cluster, Node, eventually
from tests.integration.conftest import NewCluster

pytestmark = pytest.mark.slow

ALLOWED = {"REPLOG_ALLOW_SIMULATION": "1"}
NOTHING = {
    "ack_delay_s": 0.0,
    "ack_jitter_s": 0.0,
    "persist_delay_s": 0.0,
    "drop_ack_probability": 0.0,
    "repeat_ack_probability": 0.0,
}


@pytest.fixture
async def pair(new_cluster: NewCluster) -> AsyncIterator[Cluster]:
    """A master and one secondary that lets itself be changed."""
    async with new_cluster({"node1": ALLOWED}) as cluster:
        yield await cluster.started()


async def put(cluster: Cluster, node: Node, body: str, content_type: str = "application/json") -> tuple[int, Any]:
    headers = {"Content-Type": content_type}
    async with cluster.http.put(f"{node.url}/simulation", data=body, headers=headers) as response:
        return response.status, await response.json(content_type=None)


async def simulate(cluster: Cluster, **effects: float) -> None:
    node = cluster["node1"]
    assert await put(cluster, node, json.dumps(effects)) == (200, {**NOTHING, **effects})
    assert await node.get("/simulation") == {**NOTHING, **effects}


async def acked(cluster: Cluster, end: int) -> None:
    async def condition() -> bool:
        return bool((await cluster.master.status())["secondaries"][0]["acked_end"] == end)

    await eventually(condition, f"node1 has acked everything below {end}")


async def count(node: Node, name: str) -> int:
    return int((await node.status())["counts"][name])


async def test_only_a_node_that_is_allowed_to_lets_itself_be_changed(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {"LATENCY": "0.25"}}) as cluster:
        await cluster.started()
        status, problem = await put(cluster, cluster["node1"], "{}")
        assert (status, problem["code"]) == (403, "simulation-not-allowed")
        assert "REPLOG_ALLOW_SIMULATION" in problem["detail"]
        assert await cluster["node1"].get("/simulation") == {**NOTHING, "ack_delay_s": 0.25}
        status, problem = await put(cluster, cluster.master, "{}")
        assert (status, problem["code"]) == (403, "not-a-secondary")


async def test_what_is_not_named_is_not_simulated_any_more(pair: Cluster) -> None:
    await simulate(pair, ack_delay_s=0.5, repeat_ack_probability=1.0)
    await simulate(pair, ack_jitter_s=0.25)
    await simulate(pair)
    logged = pair["node1"].logged()
    assert "simulating: ack_delay_s 0.5, repeat_ack_probability 1\n" in logged
    assert "simulating: nothing\n" in logged


async def test_nonsense_is_refused_and_changes_nothing(pair: Cluster) -> None:
    await simulate(pair, ack_delay_s=0.5)
    for body, content_type, status, code in [
        ('{"ack_delay_s": -1}', "application/json", 400, "invalid-simulation"),
        ('{"ack_delay_s": 3601}', "application/json", 400, "invalid-simulation"),
        ('{"ack_delay_s": 1%s}' % ("0" * 400), "application/json", 400, "invalid-simulation"),
        ('{"ack_delay_s": "1"}', "application/json", 400, "invalid-simulation"),
        ('{"ack_delay_s": true}', "application/json", 400, "invalid-simulation"),
        ('{"ack_delay_s": null}', "application/json", 400, "invalid-simulation"),
        ('{"drop_ack_probability": 1.1}', "application/json", 400, "invalid-simulation"),
        ('{"delay": 1}', "application/json", 400, "unknown-field"),
        ("[]", "application/json", 400, "not-an-object"),
        ('{"ack_delay_s": NaN}', "application/json", 400, "not-json"),
        ("{}", "text/plain", 415, "unsupported-media-type"),
    ]:
        answered, problem = await put(pair, pair["node1"], body, content_type)
        assert (body[:40], answered, problem["code"]) == (body[:40], status, code)
    assert await pair["node1"].get("/simulation") == {**NOTHING, "ack_delay_s": 0.5}


async def test_a_dropped_ack_leaves_the_copy_and_a_later_one_makes_up_for_it(pair: Cluster) -> None:
    await simulate(pair, drop_ack_probability=1.0)
    status, problem = await pair.master.post("copied, and not acked", w=2, timeout=0.5)
    assert (status, problem["appended"], problem["missing"]) == (504, "yes", ["node1"])
    assert await pair.converged() == ["copied, and not acked"]
    assert await count(pair["node1"], "simulated drops") > 0
    await simulate(pair)
    await acked(pair, 1)


async def test_a_repeated_ack_counts_once(pair: Cluster) -> None:
    await simulate(pair, repeat_ack_probability=1.0)
    for n in range(5):
        answer = await pair.master.append(f"message {n}", w=2)
        assert [ack["node"] for ack in answer["acks"]] == ["master", "node1"]
    assert await count(pair["node1"], "simulated repeats") >= 5
    assert await pair.converged() == [f"message {n}" for n in range(5)]


async def test_a_shorter_delay_is_felt_at_once_by_the_acks_under_way(pair: Cluster) -> None:
    await simulate(pair, ack_delay_s=3000.0, ack_jitter_s=600.0)
    for n in range(5):
        await pair.master.append(f"message {n}", w=1)
    await pair.converged()
    assert (await pair["node1"].status())["acked_end"] == 0
    await simulate(pair, ack_jitter_s=0.1)
    await acked(pair, 5)


async def test_what_waits_before_the_disk_leaves_when_the_delay_ends(pair: Cluster) -> None:
    await simulate(pair, persist_delay_s=3000.0)
    for n in range(5):
        await pair.master.append(f"message {n}", w=1)

    async def is_known() -> bool:
        return bool((await pair["node1"].status())["lag"] == 5)

    await eventually(is_known, "node1 knows what it lacks")
    assert await pair["node1"].messages() == []
    await simulate(pair)
    await acked(pair, 5)
    assert await pair.converged() == [f"message {n}" for n in range(5)]
