"""What happens on the broker, and what happens when it goes away."""

import asyncio
from functools import partial

import aio_pika
import pytest

from tests.cluster import Cluster, eventually
from tests.container_broker import AnyBroker
from tests.integration.conftest import NewCluster
from tests.management import Management

pytestmark = pytest.mark.slow


@pytest.mark.heart
async def test_a_broker_restart_heals(cluster: Cluster, broker: AnyBroker) -> None:
    await cluster.master.append("before", w=3)
    await asyncio.to_thread(broker.restart)
    await cluster.master.append("after", w=3)
    assert await cluster.converged() == ["before", "after"]


async def test_a_killed_broker_heals_and_what_was_appended_meanwhile_arrives(
    cluster: Cluster, broker: AnyBroker
) -> None:
    await cluster.master.append("before", w=3)
    await asyncio.to_thread(broker.kill)
    assert (await cluster.master.append("meanwhile", w=1))["acks"][0]["node"] == "master"
    assert (await cluster.master.post("waits in vain", w=2, timeout=0.3))[0] == 504
    await asyncio.to_thread(broker.start)
    await cluster.master.append("after", w=3)
    assert await cluster.converged() == ["before", "meanwhile", "waits in vain", "after"]


async def test_what_a_killed_master_had_not_published_arrives(cluster: Cluster, broker: AnyBroker) -> None:
    await asyncio.to_thread(broker.kill)
    for n in range(10):
        await cluster.master.append(f"unpublished {n}", w=1)
    cluster.master.kill()
    await asyncio.to_thread(broker.start)
    cluster.master.start()
    await eventually(cluster.master.status, "the master serves")
    assert await cluster.converged() == [f"unpublished {n}" for n in range(10)]


async def test_nodes_that_start_before_the_broker_wait_for_it_and_say_so_once(
    new_cluster: NewCluster, broker: AnyBroker
) -> None:
    await asyncio.to_thread(broker.kill)
    async with new_cluster({"node1": {}}) as cluster:
        for node in cluster.nodes:
            node.start()
        await eventually(cluster.master.status, "the master serves")
        await cluster.master.append("no broker yet", w=1)
        await asyncio.to_thread(broker.start)
        assert await cluster.converged() == ["no broker yet"]
        for node in cluster.nodes:
            assert node.logged().count("no session with the broker") == 1


async def test_exchange_and_queues_are_seen_under_their_names_with_their_traffic(
    cluster: Cluster, broker: AnyBroker
) -> None:
    prefix = f"replog.{cluster.log_name}"
    management = Management(broker, cluster.http)
    await cluster.master.append("message", w=3)
    exchange = await management.get("exchanges", "/", f"{prefix}.log")
    assert (exchange["type"], exchange["durable"]) == ("fanout", True)

    async def queues_with_traffic() -> set[str]:
        queues = await management.get("queues", "/")
        return {
            queue["name"]
            for queue in queues
            if queue["name"].startswith(prefix) and queue.get("message_stats", {}).get("deliver_get", 0) > 0
        }

    expected = {f"{prefix}.node.node1", f"{prefix}.node.node2", f"{prefix}.acks.1.1"}

    async def all_seen() -> bool:
        return expected <= await queues_with_traffic()

    await eventually(all_seen, f"traffic is seen in {expected}")
    bound = {
        binding["destination"]
        for binding in await management.get("exchanges", "/", f"{prefix}.log", "bindings", "source")
    }
    assert bound == {f"{prefix}.node.node1", f"{prefix}.node.node2"}


async def test_a_queue_with_the_arguments_of_another_version_is_replaced(
    new_cluster: NewCluster, broker: AnyBroker
) -> None:
    async with new_cluster({"node1": {}}) as cluster:
        connection = await aio_pika.connect(broker.amqp_url)
        async with connection:
            channel = await connection.channel()
            await channel.declare_exchange(f"replog.{cluster.log_name}.log", aio_pika.ExchangeType.DIRECT)
            await channel.declare_queue(f"replog.{cluster.log_name}.node.node1", durable=True)
        await cluster.started()
        await cluster.master.append("message", w=2)


async def test_what_a_secondary_has_finished_with_is_settled_though_nothing_follows(
    cluster: Cluster, broker: AnyBroker
) -> None:
    management = Management(broker, cluster.http)
    await cluster.master.append("message", w=3)
    cluster.master.kill()

    async def is_settled(name: str) -> bool:
        queue = await management.get("queues", "/", f"replog.{cluster.log_name}.node.{name}")
        counts = queue.get("message_stats", {})
        return bool(counts.get("deliver", 0) > 0 and counts.get("ack", 0) == counts["deliver"])

    for name in cluster.secondaries:
        await eventually(partial(is_settled, name), f"{name} has settled all that was delivered to it")
