"""Who is configured counts; who is not follows; silence changes who is healthy, never who must ack."""

import pytest

from tests.cluster import Cluster, Node, eventually
from tests.integration.conftest import NewCluster

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("nodes", [1, 2, 3, 5])
async def test_every_write_concern_of_a_cluster_of_n_nodes_is_answered(new_cluster: NewCluster, nodes: int) -> None:
    async with new_cluster({f"node{n}": {} for n in range(1, nodes)}) as cluster:
        await cluster.started()
        for w in range(1, nodes + 1):
            answer = await cluster.master.append(f"w={w}", w=w)
            assert len(answer["acks"]) >= answer["w"] == w
        assert (await cluster.master.append("majority", w="majority"))["w"] == nodes // 2 + 1
        assert (await cluster.master.append("all"))["w"] == nodes
        assert len(await cluster.converged()) == nodes + 2


async def test_five_nodes_go_on_without_two_of_them(new_cluster: NewCluster) -> None:
    async with new_cluster({f"node{n}": {} for n in range(1, 5)}) as cluster:
        await cluster.started()
        for name in ("node1", "node2"):
            cluster[name].kill()
        assert (await cluster.master.append("a majority", w="majority"))["w"] == 3
        status, problem = await cluster.master.post("one too many", w=4, timeout=2)
        assert (status, problem["missing"]) == (504, ["node1", "node2"])
        await cluster.started()
        await cluster.master.append("all again", w="all")
        assert await cluster.converged() == ["a majority", "one too many", "all again"]


async def test_a_node_that_is_not_configured_follows_and_never_counts(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {}}) as cluster:
        await cluster.started()
        observer = Node(cluster, "secondary", "observer", {})
        observer.start()
        try:
            await cluster.master.append("seen by both", w=2)

            async def has_it() -> bool:
                return await observer.messages() == ["seen by both"]

            await eventually(has_it, "the observer follows")
            cluster["node1"].kill()
            status, problem = await cluster.master.post("an observer is no copy", w=2, timeout=2)
            assert (status, problem["acked"], problem["missing"]) == (504, ["master"], ["node1"])
            assert [seen["name"] for seen in (await cluster.master.status())["observers"]] == ["observer"]
        finally:
            observer.kill()


async def test_secondaries_are_added_and_removed_by_the_masters_setting(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {}, "node2": {}}) as cluster:
        cluster.master.start(NODE_NAMES="node1")
        cluster["node1"].start()
        await eventually(cluster.is_healthy, "node1 is followed")
        await cluster.master.append("two nodes", w="all")
        cluster.master.stop()
        cluster["node2"].start()
        cluster.master.start(NODE_NAMES="node1,node2")
        await eventually(cluster.master.status, "the master serves")
        assert (await cluster.master.append("three nodes", w="all"))["w"] == 3
        cluster.master.stop()
        cluster["node1"].stop()
        cluster.master.start(NODE_NAMES="node2")
        await eventually(cluster.master.status, "the master serves")
        assert (await cluster.master.append("two other nodes", w="all"))["w"] == 2
        cluster["node1"].start()
        assert await cluster.converged() == ["two nodes", "three nodes", "two other nodes"]

        async def observers() -> list[str]:
            return [seen["name"] for seen in (await cluster.master.status())["observers"]]

        assert await eventually(observers, "who was removed is an observer") == ["node1"]


@pytest.mark.impatient
async def test_health_follows_silence(cluster: Cluster) -> None:
    async def health(of: str) -> str:
        seen: str = (await cluster.master.get("/health"))["secondaries"][of]
        return seen

    async def only_node2_lives() -> bool:
        seen = await cluster.master.get("/health")
        return (seen["secondaries"], seen["alive"]) == ({"node1": "unhealthy", "node2": "healthy"}, 2)

    async def is_suspected() -> bool:
        return await health("node1") == "suspected"

    cluster["node1"].kill()
    await eventually(is_suspected, "node1 is suspected")
    await eventually(only_node2_lives, "node1 is unhealthy and node2 is not")
    status, problem = await cluster.master.post("all are still three", w="all", timeout=2)
    assert (status, problem["w"], problem["missing"]) == (504, 3, ["node1"])
    cluster.master.stop()
    cluster.master.start()
    await eventually(cluster.master.status, "the master serves")
    assert await health("node1") == "unknown", "it has not been seen in this reign"
    cluster["node1"].start()
    await eventually(cluster.is_healthy, "node1 is healthy again")


@pytest.mark.impatient
async def test_a_required_quorum_makes_the_master_read_only_and_back(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {}, "node2": {}}) as cluster:
        cluster.master.start(REPLOG_REQUIRE_QUORUM="1")
        await eventually(cluster.master.status, "the master serves")
        status, problem = await cluster.master.post("nobody there yet", w=1)
        assert (status, problem["appended"]) == (503, "no")
        cluster["node1"].start()

        async def may_append() -> bool:
            return (await cluster.master.get("/health"))["read_only"] is None

        await eventually(may_append, "a majority is alive")
        await cluster.master.append("a majority", w=2)
        cluster["node1"].kill()

        async def is_read_only() -> bool:
            return not await may_append()

        await eventually(is_read_only, "the majority is lost")
        assert (await cluster.master.post("not now", w=1))[1]["appended"] == "no"
        cluster["node2"].start()
        await eventually(may_append, "a majority is alive again")
        await cluster.master.append("back by itself", w=2)
        cluster["node1"].start()
        assert await cluster.converged() == ["a majority", "back by itself"]
