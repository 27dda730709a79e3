"""Nodes are killed, restarted, started late, or under a name that is taken."""

import asyncio

import aiohttp
import pytest

from tests.cluster import Cluster, Node, eventually
from tests.integration.conftest import BOTH_WAYS, NewCluster

pytestmark = [pytest.mark.slow, BOTH_WAYS]


async def test_a_killed_secondary_has_everything_exactly_once_when_it_is_back(cluster: Cluster) -> None:
    for n in range(10):
        await cluster.master.append(f"before {n}", w=3)
    async with asyncio.TaskGroup() as clients:
        for n in range(100):
            clients.create_task(cluster.master.append(f"during {n}", w=2))
        cluster["node1"].kill()
    cluster["node1"].start()
    await cluster.master.append("after", w=3)
    log = await cluster.converged()
    assert len(log) == len(set(log)) == 111


@pytest.mark.heart
async def test_a_secondary_that_starts_late_for_the_first_time_gets_everything(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {}, "node2": {}}) as cluster:
        cluster.master.start()
        cluster["node1"].start()
        await eventually(cluster.master.status, "the master serves")
        for n in range(100):
            await cluster.master.append(f"message {n}", w=2)
        cluster["node2"].start()
        assert await cluster.converged() == [f"message {n}" for n in range(100)]


@pytest.mark.heart
async def test_a_killed_master_loses_nothing_that_it_answered(cluster: Cluster) -> None:
    answered: dict[int, str] = {}

    async def client(name: str) -> None:
        for n in range(1000):
            try:
                status, answer = await cluster.master.post(f"{name} {n}", w=n % 3 + 1)
            except (OSError, aiohttp.ClientError):
                return
            assert status == 201
            answered[answer["offset"]] = f"{name} {n}"

    async with asyncio.TaskGroup() as clients:
        for n in range(8):
            clients.create_task(client(f"client {n}"))
        await eventually(lambda: len(answered) > 100, "the clients are at it")
        cluster.master.kill()
    cluster.master.start()
    await eventually(cluster.is_healthy, "the new reign is followed")
    log = await cluster.converged()
    assert {offset: log[offset] for offset in answered} == answered
    assert len(log) == len(set(log))


async def test_a_new_reign_goes_on_in_the_next_epoch(cluster: Cluster) -> None:
    assert (await cluster.master.append("first", w=3))["epoch"] == 1
    assert cluster.master.stop() == 0
    cluster.master.start()
    await eventually(cluster.is_healthy, "the new reign is followed")
    assert (await cluster.master.append("second", w=3))["epoch"] == 2
    assert await cluster.converged() == ["first", "second"]
    records = (await cluster["node1"].get("/messages"))["messages"]
    assert [record["epoch"] for record in records] == [1, 2]


@pytest.mark.heart
async def test_a_wiped_secondary_gets_everything_again_and_counts_only_then(cluster: Cluster) -> None:
    for n in range(10):
        await cluster.master.append(f"message {n}", w=3)
    node1 = cluster["node1"]
    node1.kill()
    for file in node1.data.iterdir():
        file.unlink()
    await cluster.master.append("two nodes hold this", w=2)
    status, problem = await cluster.master.post("the wiped disk does not count", w=3, timeout=2)
    assert (status, problem["missing"]) == (504, ["node1"])
    node1.start()
    await cluster.master.append("counted again", w=3)
    assert len(await cluster.converged()) == 13


async def test_every_node_stops_cleanly(cluster: Cluster) -> None:
    await cluster.master.append("message", w=3)
    assert [node.stop() for node in cluster.nodes] == [0, 0, 0]


async def test_a_master_that_stops_tells_those_who_wait_what_became_of_their_messages(cluster: Cluster) -> None:
    cluster["node2"].kill()
    async with asyncio.TaskGroup() as clients:
        waiting = clients.create_task(cluster.master.post("waits for node2", w=3))

        async def is_appended() -> bool:
            return len(await cluster.master.messages()) == 1

        await eventually(is_appended, "the message is appended")
        assert await asyncio.to_thread(cluster.master.stop) == 0
    status, problem = waiting.result()
    assert (status, problem["appended"], problem["missing"]) == (504, "yes", ["node2"])


async def test_a_second_process_under_a_taken_name_persists_and_acks_nothing(cluster: Cluster) -> None:
    second = Node(cluster, "secondary", "node1", {"REPLOG_DATA": str(cluster.directory / "second")})
    second.log_file = cluster.directory / "second.log"
    second.start()
    try:
        await eventually(lambda: "another process runs under this node's name" in second.logged(), "it says so")
        await cluster.master.append("message", w=3)
        assert await second.messages() == []
        cluster["node1"].kill()

        async def has_taken_over() -> bool:
            return await second.messages() == ["message"]

        await eventually(has_taken_over, "the second process takes the place of the first")
        await cluster.master.append("from the new disk", w=3)
    finally:
        second.kill()


async def test_a_data_directory_is_for_one_process(cluster: Cluster) -> None:
    second = Node(cluster, "master", "master", {})
    second.log_file = cluster.directory / "second.log"
    second.start()
    assert second.exit_code() == 1
    assert cluster.master.process is not None
    assert f"is in use by master, process {cluster.master.process.pid}" in second.logged()
