"""A secondary that is a million records behind arrives, while more keeps coming."""

import asyncio
from pathlib import Path

from replicated_log.batch import encode_batch
from replicated_log.log import Log
from tests.cluster import Node, eventually
from tests.integration.conftest import NewCluster

RECORDS = 1_000_000
MEMORY_BOUND_MIB = 400


def write_log(node: Node) -> None:
    """A log of RECORDS records of 100 bytes, in batches of 1,000."""
    log = Log.open(node.data, node.name)
    log.begin_reign()
    assert log.log_id is not None
    for first in range(0, RECORDS, 1000):
        messages = [b"%0100d" % n for n in range(first, first + 1000)]
        log.append([encode_batch(messages, log_id=log.log_id, epoch=1, time_ms=0, previous=log.end)])
    log.close()


def peak_memory_mib(node: Node) -> float:
    assert node.process is not None
    status = Path(f"/proc/{node.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


async def test_a_secondary_a_million_records_behind_catches_up_under_load(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {}, "late": {}}) as cluster:
        write_log(cluster.master)
        await cluster.started()
        await eventually_has_all(cluster["node1"], RECORDS)
        cluster["late"].kill()
        for file in cluster["late"].data.iterdir():
            file.unlink()
        caught_up = asyncio.Event()
        posted = 0

        async def load(client: int) -> None:
            nonlocal posted
            while not caught_up.is_set():
                await cluster.master.append(f"live {client} {posted}", w=2)
                posted += 1

        async with asyncio.TaskGroup() as clients:
            for client in range(16):
                clients.create_task(load(client))
            await eventually(lambda: posted > 200, "the load is on")
            cluster["late"].start()
            seen = []

            async def has_caught_up() -> bool:
                status = await cluster["late"].status()
                seen.append(status["end_offset"])
                return bool(status["end_offset"] >= RECORDS and status["lag"] < 1000)

            await eventually(has_caught_up, "the late secondary has caught up under load")
            caught_up.set()
        assert any(0 < end < RECORDS for end in seen), "its progress was to be seen on the way"
        await cluster.master.append("the end", w=3)
        ends = [(await node.status())["end_offset"] for node in cluster.nodes]
        assert ends == [RECORDS + posted + 1] * 3
        for node in cluster.nodes:
            assert peak_memory_mib(node) < MEMORY_BOUND_MIB


async def eventually_has_all(node: Node, records: int) -> None:
    async def has_all() -> bool:
        return bool((await node.status())["end_offset"] >= records)

    await eventually(has_all, f"{node.name} holds {records} records")
