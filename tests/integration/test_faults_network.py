"""The way between one node and the broker is disturbed: the master's, and a secondary's."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.cluster import Cluster
from tests.container_broker import AnyBroker
from tests.integration.conftest import BOTH_WAYS, NewCluster
from tests.tcp_proxy import BOTH, TO_BROKER, TO_NODE, TcpProxy

pytestmark = [pytest.mark.slow, BOTH_WAYS]

WAYS = {"both ways": BOTH, "to the broker": (TO_BROKER,), "to the node": (TO_NODE,)}
of_each_node = pytest.mark.parametrize("disturbed", ["master", "node1"])
in_each_way = pytest.mark.parametrize("ways", WAYS.values(), ids=WAYS.keys())


@pytest.fixture
async def proxy(broker: AnyBroker) -> AsyncIterator[TcpProxy]:
    async with TcpProxy(broker.amqp_url).running() as proxy:
        yield proxy


@pytest.fixture
async def cluster(new_cluster: NewCluster, proxy: TcpProxy, disturbed: str) -> AsyncIterator[Cluster]:
    """A master and two secondaries, up and healthy; the ``disturbed`` one goes to the broker by the proxy."""
    async with new_cluster({"node1": {}, "node2": {}}) as cluster:
        node = cluster.master if disturbed == "master" else cluster[disturbed]
        node.environ["REPLOG_AMQP_URL"] = proxy.url
        yield await cluster.started()


@pytest.mark.impatient
@of_each_node
@in_each_way
async def test_a_connection_that_carries_nothing_any_more_is_replaced(
    cluster: Cluster, proxy: TcpProxy, ways: Sequence[str]
) -> None:
    await cluster.master.append("before", w=3)
    proxy.hold_existing(ways)
    # More than the buffers on the way can take.
    large = [f"{n}".ljust(1_000_000) for n in range(20)]
    async with asyncio.TaskGroup() as clients:
        for message in large:
            clients.create_task(cluster.master.append(message, w=3))
    before, *after = await cluster.converged()
    assert (before, sorted(after)) == ("before", sorted(large))


@pytest.mark.impatient
@of_each_node
@in_each_way
async def test_a_loss_that_lasts_longer_than_every_timeout_heals(
    cluster: Cluster, proxy: TcpProxy, ways: Sequence[str]
) -> None:
    await cluster.master.append("before", w=3)
    proxy.hold_all(ways)
    await cluster.master.append("meanwhile", w=1)
    assert (await cluster.master.post("waits in vain", w=3, timeout=1))[1]["appended"] == "yes"
    await cluster.outlast_timeouts()
    proxy.release()
    await cluster.master.append("after", w=3)
    assert await cluster.converged() == ["before", "meanwhile", "waits in vain", "after"]


@pytest.mark.heart
@of_each_node
async def test_a_cut_heals(cluster: Cluster, proxy: TcpProxy) -> None:
    await cluster.master.append("before", w=3)
    proxy.cut()
    await cluster.master.append("after", w=3)
    assert await cluster.converged() == ["before", "after"]


@of_each_node
async def test_a_way_that_flaps_heals(cluster: Cluster, proxy: TcpProxy) -> None:
    async with asyncio.TaskGroup() as clients:
        for n in range(100):
            clients.create_task(cluster.master.append(f"message {n}", w=3))
            proxy.cut()
            # At uneven intervals, so that each step of making a session is hit once.
            await asyncio.sleep(n * 0.001)
    assert sorted(await cluster.converged()) == sorted(f"message {n}" for n in range(100))


@of_each_node
async def test_a_long_delay_delays_and_breaks_nothing(cluster: Cluster, proxy: TcpProxy) -> None:
    proxy.delay_s = 1.0
    async with asyncio.TaskGroup() as clients:
        for n in range(100):
            clients.create_task(cluster.master.append(f"message {n}", w=3))
    assert sorted(await cluster.converged()) == sorted(f"message {n}" for n in range(100))
    proxy.delay_s = 0.0
    await cluster.master.append("after", w=3)
