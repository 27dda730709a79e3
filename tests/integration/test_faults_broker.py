"""What is done to the broker's connections, queues and exchange, and to the broker itself, under load."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from infra.rabbitmq.choice import FAST, PLAIN
from infra.rabbitmq.session import NODE_QUEUE_BYTES
from tests.cluster import Cluster, Node, eventually
from tests.container_broker import AnyBroker
from tests.faults_disk import SYNC, slow
from tests.faults_load import under_load
from tests.integration.conftest import BOTH_WAYS, NewCluster
from tests.management import Management

pytestmark = pytest.mark.slow

AWAY_BOUND_MIB = 120
"""Above the 50 MiB of an idle process, for a master that appends and can't publish."""
MEMORY_BOUND_MIB = 300
"""For one that publishes and answers fetches, with all its buffers full."""

DELETE_QUEUE = (
    '{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"%s">>)),'
    ' {ok, _} = rabbit_amqqueue:delete(Q, false, false, <<"test">>).'
)
"""In the broker's own language, since an exclusive queue is refused to everybody else's delete."""

HANG_QUEUE = (
    '{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"%s">>)), Process = amqqueue:get_pid(Q),'
    " sys:%s(Process)."
)


@pytest.fixture
def management(cluster: Cluster, broker: AnyBroker) -> Management:
    return Management(broker, cluster.http)


@pytest.mark.heart
@BOTH_WAYS
async def test_closed_connections_heal(cluster: Cluster, broker: AnyBroker) -> None:
    async with under_load(cluster):
        await asyncio.to_thread(broker.ctl, "close_all_connections", "a test")
    for node in cluster.nodes:
        assert node.logged().count("no session with the broker") == 1


@BOTH_WAYS
async def test_what_a_closed_connection_had_delivered_is_not_settled_on_the_next_one(
    cluster: Cluster, broker: AnyBroker, management: Management
) -> None:
    node1 = cluster["node1"]
    queue = ("queues", "/", f"replog.{cluster.log_name}.node.node1")

    async def waits_for_the_disk() -> bool:
        await cluster.master.append("message", w=1)
        return bool((await management.get(*queue)).get("messages_unacknowledged", 0) > 0)

    async with slow(node1, "log.sqlite-wal", SYNC):
        await eventually(waits_for_the_disk, "node1 has deliveries that it must not settle yet")
        await asyncio.to_thread(broker.ctl, "close_all_connections", "a test")
        await cluster.master.append("after", w=3)
    await cluster.master.append("the end", w=3)
    await cluster.converged()
    # The broker ends a channel on which a delivery is settled that is not of this channel, or twice.
    assert node1.logged().count("no session with the broker") == 1


@BOTH_WAYS
async def test_a_secondarys_queue_that_is_deleted_and_its_consumer_with_it_is_made_anew(
    cluster: Cluster, management: Management
) -> None:
    async with under_load(cluster):
        for name in cluster.secondaries:
            await management.delete("queues", "/", f"replog.{cluster.log_name}.node.{name}")


async def test_a_secondary_whose_queue_does_not_answer_goes_on_with_another_until_it_does(
    cluster: Cluster, broker: AnyBroker, management: Management
) -> None:
    """As in a cluster, while the broker's node that has the queue is down: RabbitMQ 4 keeps who declares it waiting."""
    queue, spare = (f"replog.{cluster.log_name}.{kind}.node1" for kind in ("node", "spare"))

    async def spare_queue() -> list[dict[str, Any]]:
        return [queue for queue in await management.get("queues") if queue["name"] == spare]

    async def spare_is_gone() -> bool:
        return not await spare_queue()

    cluster["node1"].kill()
    async with hanging(queue, broker):
        cluster["node1"].start()
        await cluster.master.append("by the spare queue", w=3)
        (used,) = await spare_queue()
        assert used["exclusive"]
        assert used["arguments"]["x-max-length-bytes"] == NODE_QUEUE_BYTES
        assert used["arguments"]["x-overflow"] == "drop-head"
    await eventually(spare_is_gone, "node1 has gone back to its own queue")
    await cluster.master.append("by its own queue", w=3)
    assert cluster["node1"].logged().count("takes its place") == 1


@pytest.mark.impatient
async def test_a_second_process_under_a_taken_name_gets_no_spare_queue_either(
    cluster: Cluster, broker: AnyBroker
) -> None:
    cluster["node1"].kill()
    async with hanging(f"replog.{cluster.log_name}.node.node1", broker):
        cluster["node1"].start()
        await cluster.master.append("by the spare queue", w=3)
        second = Node(cluster, "secondary", "node1", {"REPLOG_DATA": str(cluster.directory / "second")})
        second.log_file = cluster.directory / "second.log"
        second.start()
        try:
            await eventually(lambda: "another process runs under this node's name" in second.logged(), "it says so")
            assert await second.messages() == []
        finally:
            second.kill()
    await cluster.master.append("none the worse", w=3)


@asynccontextmanager
async def hanging(queue: str, broker: AnyBroker) -> AsyncIterator[None]:
    """The queue answers nobody."""
    await asyncio.to_thread(broker.ctl, "eval", HANG_QUEUE % (queue, "suspend"))
    try:
        yield
    finally:
        await asyncio.to_thread(broker.ctl, "eval", HANG_QUEUE % (queue, "resume"))


@BOTH_WAYS
async def test_what_is_purged_from_a_secondarys_queue_arrives_all_the_same(
    cluster: Cluster, management: Management
) -> None:
    with cluster["node1"].frozen():
        # More than what is prefetched, so that there is something to purge.
        for n in range(200):
            await cluster.master.append(f"message {n}", w=2)
        queue = ("queues", "/", f"replog.{cluster.log_name}.node.node1")

        async def is_filled() -> bool:
            return bool((await management.get(*queue)).get("messages_ready", 0) > 100)

        await eventually(is_filled, "deliveries wait for node1")
        await management.delete(*queue, "contents")
    await cluster.master.append("after", w=3)
    assert await cluster.converged() == [*(f"message {n}" for n in range(200)), "after"]
    assert (await cluster["node1"].status())["counts"]["fetches"] > 0


@BOTH_WAYS
async def test_reply_queues_that_are_deleted_are_made_anew(
    cluster: Cluster, broker: AnyBroker, management: Management
) -> None:
    prefix = f"replog.{cluster.log_name}."
    names = [queue["name"] for queue in await management.get("queues", "/")]
    replies = [name for name in names if name.startswith((f"{prefix}acks.", f"{prefix}fetched."))]
    assert len(replies) == 3
    async with under_load(cluster):
        for name in replies:
            await asyncio.to_thread(broker.ctl, "eval", DELETE_QUEUE % name)


@pytest.mark.impatient
async def test_an_exchange_that_is_deleted_is_made_anew_and_the_queues_bound_to_it(
    cluster: Cluster, management: Management
) -> None:
    async with under_load(cluster):
        await management.delete("exchanges", "/", f"replog.{cluster.log_name}.log")
    await cluster.master.append("by both", w=3)


@pytest.mark.impatient
async def test_a_queue_that_is_unbound_is_bound_again(cluster: Cluster, management: Management) -> None:
    exchange, queue = f"replog.{cluster.log_name}.log", f"replog.{cluster.log_name}.node.node1"
    path = ("bindings", "/", "e", exchange, "q", queue)
    (binding,) = await management.get(*path)
    await management.delete(*path, binding["properties_key"])
    await cluster.master.append("message", w=3)
    assert await cluster.converged() == ["message"]


@pytest.mark.impatient
@BOTH_WAYS
async def test_a_broker_that_is_frozen_longer_than_every_timeout_heals(cluster: Cluster, broker: AnyBroker) -> None:
    await cluster.master.append("before", w=3)
    with broker.frozen():
        await cluster.master.append("meanwhile", w=1)
        assert (await cluster.master.post("waits in vain", w=2, timeout=1))[1]["appended"] == "yes"
        await cluster.outlast_timeouts()
        await cluster.master.append("still", w=1)
    await cluster.master.append("after", w=3)
    assert await cluster.converged() == ["before", "meanwhile", "waits in vain", "still", "after"]


ALARMS = {
    "mem_alarm": (("set_vm_memory_high_watermark", "0.00001"), ("set_vm_memory_high_watermark", "0.4")),
    "disk_free_alarm": (("set_disk_free_limit", "1000GB"), ("set_disk_free_limit", "50MB")),
}


@pytest.mark.parametrize(("alarm", "amqp"), [*((alarm, FAST) for alarm in ALARMS), ("mem_alarm", PLAIN)])
async def test_a_broker_that_is_blocked_by_an_alarm_heals(
    cluster: Cluster, broker: AnyBroker, management: Management, alarm: str
) -> None:
    async def is_raised() -> bool:
        return any(node[alarm] for node in await management.get("nodes"))

    await cluster.master.append("before", w=3)
    cause, end = ALARMS[alarm]
    try:
        await asyncio.to_thread(broker.ctl, *cause)
        await eventually(is_raised, "the broker blocks")
        await cluster.master.append("meanwhile", w=1)
        assert (await cluster.master.post("waits in vain", w=2, timeout=1))[1]["appended"] == "yes"
        await cluster.outlast_timeouts()
        large = [f"{n}".ljust(1_000_000) for n in range(100)]
        for message in large:
            await cluster.master.append(message, w=1)
    finally:
        await asyncio.to_thread(broker.ctl, *end)
    await cluster.master.append("after", w=3)
    for node in cluster.nodes:
        assert node.peak_memory_mib() < MEMORY_BOUND_MIB
        assert node.logged().count("no session with the broker") == 1
    assert await cluster.converged() == ["before", "meanwhile", "waits in vain", *large, "after"]


async def test_a_broker_that_is_away_costs_the_master_no_memory(new_cluster: NewCluster, broker: AnyBroker) -> None:
    large = [f"{n}".ljust(1_000_000) for n in range(300)]
    async with new_cluster({"node1": {}}) as cluster:
        await cluster.started()
        await asyncio.to_thread(broker.kill)
        try:
            for message in large:
                await cluster.master.append(message, w=1)
            assert cluster.master.peak_memory_mib() < AWAY_BOUND_MIB
        finally:
            await asyncio.to_thread(broker.start)
        await cluster.master.append("after", w=2)
        assert cluster.master.peak_memory_mib() < MEMORY_BOUND_MIB
        assert await cluster.converged() == [*large, "after"]
