"""What happens to the disks: they fail, are slow, have no room left, or give back something else than was written."""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from replicated_log.storage.log_reader import database
from tests.campaign.fault import Aim, Fault, Kind, Part
from tests.cluster import eventually
from tests.faults_disk import SYNC, WRITE, failing, slow

JOURNAL = "log.sqlite-wal"
ROOM_MIB = 2
"""What is left of a small disk before the ballast goes there."""
LARGE = 100_000


async def fail(fault: Fault, calls: Sequence[str]) -> None:
    """The first call that fails must end the process; then it is started again."""
    member = fault.target
    with member.may_end():
        async with failing(member.node, JOURNAL, calls):
            await member.ends("the process ends: disk I/O error")
    await member.look_at_rest()
    await fault.lasts(0, 0.5)
    member.start()


async def slow_down(fault: Fault) -> None:
    """Each sync takes a second."""
    async with slow(fault.target.node, JOURNAL, SYNC):
        await fault.lasts(1, 4)


async def fill_masters(fault: Fault) -> None:
    """Appends are refused, reads go on, and when there is room again so do appends."""
    client = fault.arena.client()

    async def refuses() -> bool:
        return fault.arena.over.is_set() or await client.append(1, size=LARGE) == 507

    await _fill(fault)
    try:
        await eventually(refuses, "the master refuses with 507")
        await fault.target.look()
        await fault.lasts(0, 1)
    finally:
        await _make_room(fault)


async def fill_secondarys(fault: Fault) -> None:
    """It stops acking and says so; reads go on. When there is room again, it catches up."""
    client = fault.arena.client()

    async def is_full() -> bool:
        await client.append(1, size=LARGE)
        return fault.arena.over.is_set() or bool((await fault.target.node.status())["disk_full"])

    await _fill(fault)
    try:
        await eventually(is_full, f"{fault.target.name} says that its disk is full")
        await fault.target.look()
        await fault.lasts(0, 1)
    finally:
        await _make_room(fault)


async def _fill(fault: Fault) -> None:
    disk = fault.target.small_disk
    assert disk is not None
    disk.resize(disk.used_mebibytes() + ROOM_MIB)
    await asyncio.to_thread(disk.fill)


async def _make_room(fault: Fault) -> None:
    disk = fault.target.small_disk
    assert disk is not None
    disk.resize(disk.size_mebibytes)
    disk.empty()


async def corrupt(fault: Fault) -> None:
    """A byte of the log of a secondary that does not run is changed: it must refuse, and start anew set aside."""
    member = fault.target

    async def has_records() -> bool:
        await member.look()
        return member.disk.end.offset > 0

    await eventually(has_records, f"{member.name} has records")
    await member.stop()
    offset = await asyncio.to_thread(_flip_a_byte, member.node.data)
    with member.may_end():
        member.node.start()
        await member.ends(f"the process ends: the log is corrupt at offset {offset}")
    await member.set_aside()
    member.start()


def _flip_a_byte(directory: Path) -> int:
    """Of the last batch; where that begins."""
    with closing(sqlite3.connect(database(directory), isolation_level=None)) as log:
        first_offset, data = log.execute(
            "SELECT first_offset, data FROM batches ORDER BY first_offset DESC LIMIT 1"
        ).fetchone()
        changed = data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]
        log.execute("UPDATE batches SET data = ? WHERE first_offset = ?", (changed, first_offset))
    return int(first_offset)


KINDS = [
    Kind("master-fsync-error", partial(fail, calls=SYNC), Aim.MASTER, Part.PROCESS, needs_strace=True),
    Kind("master-write-error", partial(fail, calls=WRITE), Aim.MASTER, Part.PROCESS, needs_strace=True),
    Kind("secondary-fsync-error", partial(fail, calls=SYNC), Aim.SECONDARY, Part.PROCESS, needs_strace=True),
    Kind("secondary-write-error", partial(fail, calls=WRITE), Aim.SECONDARY, Part.PROCESS, needs_strace=True),
    Kind("disk-slow", slow_down, Aim.ANY, Part.PROCESS, needs_strace=True),
    Kind("master-disk-full", fill_masters, Aim.MASTER, Part.PROCESS, needs_small_disk=True),
    Kind("secondary-disk-full", fill_secondarys, Aim.SECONDARY, Part.PROCESS, needs_small_disk=True),
    Kind("secondary-log-corrupt", corrupt, Aim.SECONDARY, Part.PROCESS),
]
