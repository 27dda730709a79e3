"""What happens to the broker, and to what the nodes have made there."""

import asyncio
from contextlib import ExitStack

from tests.campaign.fault import Aim, Fault, Kind, Part
from tests.cluster import eventually

LOOKED_UP = '{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"%s">>)), '
DELETE_QUEUE = LOOKED_UP + '{ok, _} = rabbit_amqqueue:delete(Q, false, false, <<"test">>).'
"""In the broker's own language, since an exclusive queue is refused to everybody else's delete."""
CRASH_QUEUE = LOOKED_UP + "exit(amqqueue:get_pid(Q), kill)."


async def restart(fault: Fault) -> None:
    await asyncio.to_thread(fault.arena.broker.restart)


async def kill(fault: Fault) -> None:
    await asyncio.to_thread(fault.arena.broker.kill)
    try:
        await fault.lasts(0, 3)
    finally:
        await asyncio.to_thread(fault.arena.broker.start)


async def freeze(fault: Fault) -> None:
    with ExitStack() as frozen:
        await asyncio.to_thread(frozen.enter_context, fault.arena.broker.frozen())
        await fault.lasts(0.5, 5)


async def freeze_for_long(fault: Fault) -> None:
    with ExitStack() as frozen:
        await asyncio.to_thread(frozen.enter_context, fault.arena.broker.frozen())
        await fault.outlasts_all()


async def memory_alarm(fault: Fault) -> None:
    await _alarm(fault, "mem_alarm", "set_vm_memory_high_watermark", "0.00001", "0.4")


async def disk_alarm(fault: Fault) -> None:
    await _alarm(fault, "disk_free_alarm", "set_disk_free_limit", "1000000GB", "50MB")


async def _alarm(fault: Fault, alarm: str, command: str, cause: str, end: str) -> None:
    """A broker with an alarm takes nothing from whoever publishes, acks of secondaries included."""

    async def is_raised() -> bool:
        return any(node[alarm] for node in await fault.arena.management.get("nodes"))

    try:
        await asyncio.to_thread(fault.arena.broker.ctl, command, cause)
        await eventually(is_raised, "the broker blocks")
        await fault.lasts(0.5, 7)
    finally:
        await asyncio.to_thread(fault.arena.broker.ctl, command, end)


async def close_connections(fault: Fault) -> None:
    """By the management API: one, or all of them."""
    management = fault.arena.management

    async def close() -> None:
        names = [connection["name"] for connection in await management.get("connections")]
        assert names, "no connections to be seen yet"
        if fault.random.random() < 0.5:
            names = [fault.random.choice(names)]
        for name in names:
            await management.delete("connections", name)

    await fault.insist(close, "connections are closed")


async def delete_queue(fault: Fault) -> None:
    """The broker cancels its consumer."""
    await _at_management(fault, "queues", "/", _node_queue(fault))


async def purge_queue(fault: Fault) -> None:
    """While its node stands still, so that there is something in it."""
    with fault.target.node.frozen():
        await fault.lasts(0.5, 2.5)
        await _at_management(fault, "queues", "/", _node_queue(fault), "contents")


async def crash_queue(fault: Fault) -> None:
    """The queue's own process in the broker dies: consumers are cancelled, what was in it is lost."""
    await _evaluate(fault, CRASH_QUEUE % _node_queue(fault))


async def unbind_queue(fault: Fault) -> None:
    path = ("bindings", "/", "e", _exchange(fault), "q", _node_queue(fault))

    async def unbind() -> None:
        bindings = await fault.arena.management.get(*path)
        assert bindings, "there is no binding yet"
        await fault.arena.management.delete(*path, bindings[0]["properties_key"])

    await fault.insist(unbind, "the queue is unbound")


async def delete_exchange(fault: Fault) -> None:
    await _at_management(fault, "exchanges", "/", _exchange(fault))


async def delete_reply_queue(fault: Fault) -> None:
    """The master's, or that of a secondary."""
    arena = fault.arena
    prefix = f"replog.{arena.cluster.log_name}."
    replies = (f"{prefix}acks.", f"{prefix}fetched.")

    async def delete() -> None:
        names = [queue["name"] for queue in await arena.management.get("queues", "/")]
        name = fault.random.choice([name for name in names if name.startswith(replies)] or [""])
        await asyncio.to_thread(arena.broker.ctl, "eval", DELETE_QUEUE % name)

    await fault.insist(delete, "a reply queue is deleted")


async def change_queue_arguments(fault: Fault) -> None:
    """An older version had declared the queue otherwise."""
    member, queue = fault.target, ("queues", "/", _node_queue(fault))
    await member.kill()
    try:
        await _at_management(fault, *queue)
        await fault.insist(
            lambda: fault.arena.management.put(*queue, durable=True, arguments={"x-max-length": 10}),
            "the queue has other arguments",
        )
    finally:
        member.start()


def _exchange(fault: Fault) -> str:
    return f"replog.{fault.arena.cluster.log_name}.log"


def _node_queue(fault: Fault) -> str:
    return f"replog.{fault.arena.cluster.log_name}.node.{fault.target.name}"


async def _at_management(fault: Fault, *path: str) -> None:
    await fault.insist(lambda: fault.arena.management.delete(*path), f"{path} is deleted")


async def _evaluate(fault: Fault, expression: str) -> None:
    await fault.insist(lambda: asyncio.to_thread(fault.arena.broker.ctl, "eval", expression), expression)


KINDS = [
    Kind("broker-restarted", restart, Aim.MASTER, Part.BROKER),
    Kind("broker-killed", kill, Aim.MASTER, Part.BROKER),
    Kind("broker-frozen", freeze, Aim.MASTER, Part.BROKER),
    Kind("broker-frozen-for-long", freeze_for_long, Aim.MASTER, Part.BROKER),
    Kind("broker-memory-alarm", memory_alarm, Aim.MASTER, Part.BROKER),
    Kind("broker-disk-alarm", disk_alarm, Aim.MASTER, Part.BROKER),
    Kind("connections-closed", close_connections, Aim.MASTER, Part.TOPOLOGY),
    Kind("queue-deleted", delete_queue, Aim.SECONDARY, Part.TOPOLOGY),
    Kind("queue-purged", purge_queue, Aim.SECONDARY, Part.PROCESS),
    Kind("consumer-cancelled", crash_queue, Aim.SECONDARY, Part.TOPOLOGY),
    Kind("queue-unbound", unbind_queue, Aim.SECONDARY, Part.TOPOLOGY),
    Kind("queue-arguments-changed", change_queue_arguments, Aim.SECONDARY, Part.PROCESS),
    Kind("reply-queue-gone", delete_reply_queue, Aim.MASTER, Part.TOPOLOGY),
    Kind("exchange-deleted", delete_exchange, Aim.MASTER, Part.TOPOLOGY),
]
