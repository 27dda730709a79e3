"""A broker of several nodes: the log goes on while one of them is down, whichever it is."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.broker.broker import BrokerError
from tests.broker_cluster import BrokerCluster
from tests.cluster import Cluster, cluster_of, eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[BrokerCluster]:
    try:
        cluster = BrokerCluster(tmp_path / "brokers")
    except BrokerError as error:
        pytest.skip(str(error))
    with cluster:
        yield cluster


async def queues_become(brokers: BrokerCluster, cluster: Cluster, name: str, expected: dict[str, str]) -> None:
    """Wait until a secondary consumes these queues, by kind, each on such a node of the broker."""
    begin, end = f"replog.{cluster.log_name}.", f".{name}"

    async def are_so() -> bool:
        queues: list[dict[str, Any]] = await asyncio.to_thread(brokers.asks, "queues") or []
        return expected == {
            queue["name"].removeprefix(begin).removesuffix(end): queue["node"].partition("@")[0]
            for queue in queues
            if queue["name"].endswith(end) and queue.get("consumers")
        }

    await eventually(are_so, f"{name} consumes {expected}")


async def test_the_log_goes_on_while_any_node_of_the_broker_is_down(brokers: BrokerCluster, tmp_path: Path) -> None:
    a, b, c = (broker.amqp_url for broker in brokers.brokers)
    secondaries = {"node1": {"REPLOG_AMQP_URL": f"{b} {c} {a}"}, "node2": {"REPLOG_AMQP_URL": f"{c} {a} {b}"}}
    async with cluster_of(f"{a} {b} {c}", tmp_path, secondaries) as cluster:
        await cluster.started()
        await cluster.master.append("all are up", w=3)
        await queues_become(brokers, cluster, "node1", {"node": "b"})

        await asyncio.to_thread(brokers.brokers[1].kill)
        await cluster.master.append("b, where node1's queue is, is down", w=3)
        await queues_become(brokers, cluster, "node1", {"spare": "c"})
        assert "takes its place" in cluster["node1"].logged()
        await asyncio.to_thread(brokers.brokers[1].start)
        await asyncio.to_thread(brokers.wait_until_whole)
        await queues_become(brokers, cluster, "node1", {"node": "b"})

        await asyncio.to_thread(brokers.brokers[2].kill)
        await cluster.master.append("c, where node2's queue is, is down", w=3)
        await asyncio.to_thread(brokers.brokers[2].start)
        await asyncio.to_thread(brokers.wait_until_whole)

        await asyncio.to_thread(brokers.brokers[0].kill)
        await cluster.master.append("a, which the master was connected to, is down", w=3)
        await asyncio.to_thread(brokers.brokers[0].start)
        assert len(await cluster.converged()) == 4
