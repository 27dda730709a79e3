"""GET /health/live and /health/ready: what an orchestrator asks of every node."""

from typing import Any

import pytest

from tests.cluster import Cluster, Node, eventually
from tests.integration.conftest import BOTH_WAYS, NewCluster

pytestmark = BOTH_WAYS


async def asked(cluster: Cluster, node: Node, path: str) -> tuple[int, dict[str, Any]]:
    async with cluster.http.get(node.url + path) as response:
        return response.status, await response.json(content_type=None)


async def becomes(cluster: Cluster, node: Node, status: int, reason: str | None = None) -> dict[str, Any]:
    """Wait until the node's readiness is this, and return what it says."""

    async def condition() -> dict[str, Any] | None:
        answered, body = await asked(cluster, node, "/health/ready")
        return body if (answered, body.get("reason")) == (status, reason) else None

    body: dict[str, Any] = await eventually(condition, f"{node.name} is {reason or 'ready'}")
    return body


async def test_every_node_of_a_healthy_cluster_lives_and_is_ready(cluster: Cluster) -> None:
    for node in cluster.nodes:
        assert await asked(cluster, node, "/health/live") == (200, {"live": True})
        assert await becomes(cluster, node, 200) == {"ready": True}


@pytest.mark.impatient
async def test_a_secondary_is_ready_only_within_reach_of_a_master(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {}}) as cluster:
        node1 = cluster["node1"]
        node1.start()
        problem = await becomes(cluster, node1, 503, "joining")
        assert problem["code"] == "not-ready"
        assert "appended" not in problem
        cluster.master.start()
        await becomes(cluster, node1, 200)
        with cluster.master.frozen():
            problem = await becomes(cluster, node1, 503, "no-master")
            assert "last beat" in problem["detail"]
            assert (await asked(cluster, node1, "/health/live"))[0] == 200
        await becomes(cluster, node1, 200)


async def test_a_secondary_that_comes_back_waits_for_a_beat(cluster: Cluster) -> None:
    node1 = cluster["node1"]
    await cluster.master.append("message", w=3)
    cluster.master.kill()
    node1.kill()
    node1.start()
    problem = await becomes(cluster, node1, 503, "no-master")
    assert problem["detail"] == "no beat of a master has come yet"


async def test_a_master_is_ready_only_while_it_may_append(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {}, "node2": {}}) as cluster:
        cluster.master.start(REPLOG_REQUIRE_QUORUM="1")
        problem = await becomes(cluster, cluster.master, 503, "read-only")
        assert "quorum" in problem["detail"]
        assert (await asked(cluster, cluster.master, "/health/live"))[0] == 200
        cluster["node1"].start()
        await becomes(cluster, cluster.master, 200)


async def test_only_the_master_tells_how_the_secondaries_are_doing(cluster: Cluster) -> None:
    status, health = await asked(cluster, cluster.master, "/health")
    assert (status, health["nodes"], set(health["secondaries"])) == (200, 3, {"node1", "node2"})
    status, problem = await asked(cluster, cluster["node1"], "/health")
    assert (status, problem["code"]) == (403, "not-the-master")
