"""What happens to the nodes' processes."""

import asyncio
import shutil
from pathlib import Path

from tests.campaign.arena import SECONDARIES
from tests.campaign.fault import Aim, Fault, Kind, Part
from tests.campaign.member import read_at_rest
from tests.campaign.witness import Disk
from tests.cluster import Node


async def kill(fault: Fault) -> None:
    await fault.target.kill()
    try:
        await fault.lasts(0, 1)
    finally:
        fault.target.start()


async def kill_all(fault: Fault) -> None:
    """As a power cut would, but for what was not synced. They come back in any order."""
    members = list(fault.arena.members.values())
    for member in members:
        await member.kill()
    fault.random.shuffle(members)
    for member in members:
        await fault.lasts(0, 0.5)
        member.start()


async def freeze(fault: Fault) -> None:
    with fault.target.node.frozen():
        await fault.lasts(0.5, 5)


async def freeze_for_long(fault: Fault) -> None:
    with fault.target.node.frozen():
        await fault.outlasts_all()


async def restart(fault: Fault) -> None:
    await fault.target.stop()
    fault.target.start()


async def wipe(fault: Fault) -> None:
    """Its disk is lost: it starts with an empty one."""
    await fault.target.kill()
    await fault.target.wipe()
    await fault.lasts(0, 1)
    fault.target.start()


async def same_data(fault: Fault) -> None:
    """A second process on the node's data directory must refuse to run, and say who is there."""
    member = fault.target
    assert member.node.process is not None
    second = _second(fault, member.node.data)
    second.start()
    exit_code, said = await asyncio.to_thread(second.exit_code), second.logged()
    assert exit_code == 1, f"a second process on the data of {member.name} ended with {exit_code}"
    assert f"is in use by {member.name}, process {member.node.process.pid}" in said, said


async def same_name(fault: Fault) -> None:
    """A second process under the node's name, with a disk of its own, waits to take its place.

    Where the node loses the broker meanwhile, by another fault, it does so: then it is the node, for a while.
    """
    member, witness = fault.target, fault.arena.witness
    data = fault.arena.cluster.directory / "second"
    began = witness.now()
    second = _second(fault, data)
    second.start()
    try:
        await fault.lasts(2, 5)
    finally:
        await asyncio.to_thread(second.kill)
    assert "Traceback" not in second.logged(), second.logged()
    looked = witness.now()
    batches, end = await asyncio.to_thread(read_at_rest, data, 0)
    await asyncio.to_thread(shutil.rmtree, data)
    if end is not None and batches:
        disk = Disk(member.name, f"the disk of {member.name}'s second at {began:.3f} s", began)
        witness.look(disk, looked, batches, end.offset)
        await member.visited(began, disk)


def _second(fault: Fault, data: Path) -> Node:
    """Another process with the target's role and name."""
    arena, name = fault.arena, fault.target.name
    role = "master" if fault.target is arena.master else "secondary"
    second = Node(arena.cluster, role, name, {**SECONDARIES.get(name, {}), "REPLOG_DATA": str(data)})
    second.log_file = arena.cluster.directory / f"{name}.second.log"
    return second


KINDS = [
    Kind("master-killed", kill, Aim.MASTER, Part.PROCESS),
    Kind("secondary-killed", kill, Aim.SECONDARY, Part.PROCESS),
    Kind("all-killed", kill_all, Aim.MASTER, Part.ALL_PROCESSES),
    Kind("master-frozen", freeze, Aim.MASTER, Part.PROCESS),
    Kind("secondary-frozen", freeze, Aim.SECONDARY, Part.PROCESS),
    Kind("master-frozen-for-long", freeze_for_long, Aim.MASTER, Part.PROCESS),
    Kind("secondary-frozen-for-long", freeze_for_long, Aim.SECONDARY, Part.PROCESS),
    Kind("master-restarted", restart, Aim.MASTER, Part.PROCESS),
    Kind("secondary-restarted", restart, Aim.SECONDARY, Part.PROCESS),
    Kind("secondary-wiped", wipe, Aim.SECONDARY, Part.PROCESS),
    Kind("second-process-on-data", same_data, Aim.ANY, Part.PROCESS),
    Kind("second-process-under-name", same_name, Aim.SECONDARY, Part.PROCESS),
]
