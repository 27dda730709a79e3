"""Disks that fill up."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Node, eventually
from tests.faults_disk import SmallDisk, small_disk
from tests.integration.conftest import NewCluster

pytestmark = pytest.mark.slow

LARGE = "x" * 1_000_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", mebibytes=16) as disk:
        yield disk


async def test_a_master_whose_disk_is_full_refuses_appends_and_serves_reads_until_there_is_room(
    new_cluster: NewCluster, disk: SmallDisk, tmp_path: Path
) -> None:
    async with new_cluster({"node1": {}}) as cluster:
        on_small_disk(cluster.master, tmp_path / "disk")
        await cluster.started()
        appended: dict[int, str] = {}
        refused: list[str] = []

        async def post(message: str) -> None:
            status, answer = await cluster.master.post(message, w=1)
            if status == 201:
                appended[answer["offset"]] = message
            else:
                assert (status, answer["code"], answer["appended"]) == (507, "disk-full", "no")
                refused.append(message)

        async def is_right() -> None:
            assert await cluster.master.messages() == [appended[offset] for offset in range(len(appended))]

        while not refused:
            async with asyncio.TaskGroup() as clients:
                for n in range(8):
                    clients.create_task(post(f"{len(appended)} {n} {LARGE}"))
        while len(refused) < 10:
            await post(f"small {len(appended)} {len(refused)}".ljust(20_000))
        assert cluster.master.logged().count("nothing is appended until there is") < len(refused)
        await is_right()
        # What was refused must not come back from SQLite's journal either.
        cluster.master.kill()
        disk.resize(64)
        await cluster.started()
        await is_right()
        await post("there is room")
        assert await cluster.converged() == [*appended.values()]
        await cluster.master.append("after", w=2)


async def test_a_master_takes_appends_again_as_soon_as_there_is_room(
    new_cluster: NewCluster, disk: SmallDisk, tmp_path: Path
) -> None:
    async with new_cluster({"node1": {}}) as cluster:
        on_small_disk(cluster.master, tmp_path / "disk")
        await cluster.started()
        disk.fill()

        async def is_refused() -> bool:
            return (await cluster.master.post("x" * 10_000, w=1))[0] == 507

        await eventually(is_refused, "the disk is full")
        disk.resize(64)
        await cluster.master.append("after", w=2)
        assert set(await cluster.converged()) <= {"x" * 10_000, "after"}


async def test_a_secondary_whose_disk_is_full_acks_nothing_and_serves_reads_until_there_is_room(
    new_cluster: NewCluster, disk: SmallDisk, tmp_path: Path
) -> None:
    async with new_cluster({"small": {}, "large": {}}) as cluster:
        small = cluster["small"]
        on_small_disk(small, tmp_path / "disk")
        await cluster.started()

        async def is_full() -> bool:
            await cluster.master.append(LARGE, w=2)
            return bool((await small.status())["disk_full"])

        await eventually(is_full, "the disk is full")
        end = (await small.status())["end_offset"]
        status, problem = await cluster.master.post("not on the full disk", w=3, timeout=3)
        assert (status, problem["missing"]) == (504, ["small"])
        assert (await small.status())["acked_end"] == end
        assert await small.messages() == [LARGE] * end
        disk.resize(64)
        await cluster.master.append("after", w=3)
        await cluster.converged()
        assert not (await small.status())["disk_full"]
        assert small.logged().count("the disk is full") == 1


async def test_a_node_that_finds_no_room_to_start_says_so(
    new_cluster: NewCluster, disk: SmallDisk, tmp_path: Path
) -> None:
    async with new_cluster({"node1": {}}) as cluster:
        on_small_disk(cluster.master, tmp_path / "disk")
        await cluster.started()
        await cluster.master.append("before", w=2)
        assert cluster.master.stop() == 0
        disk.fill()
        cluster.master.start()
        assert await asyncio.to_thread(cluster.master.exit_code) == 1
        assert "the process ends: " in cluster.master.logged().splitlines()[-1]
        disk.resize(64)
        await cluster.started()
        await cluster.master.append("after", w=2)


def on_small_disk(node: Node, disk: Path) -> None:
    node.data = disk / "data"
    node.environ["REPLOG_DATA"] = str(node.data)
