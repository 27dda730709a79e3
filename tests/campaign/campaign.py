"""A campaign from beginning to end, and what it comes to."""

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from infra.aio.tasks import first_leaf
from tests.campaign.arena import Arena, arena_at, under_watch
from tests.campaign.deck import KINDS, Deck, possible_here
from tests.campaign.member import Member
from tests.campaign.report import Report
from tests.campaign.rounds import Rounds
from tests.campaign.witness import told
from tests.campaign.workload import append_for_ever, append_with_keys, append_without_error
from tests.cluster import eventually
from tests.container_broker import AnyBroker
from tests.simulation.checker import check
from tests.simulation.history import Read, to_lines

CLIENTS = 20
KEYED = 6
"""So many of them append with keys."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``only`` restricts the kinds of faults; with ``every_s`` they come by the clock instead of in rounds.

    With ``patient_w``, all clients append at this write concern with much patience, and an error is a violation.
    """

    minutes: float
    seed: int
    only: Sequence[str] = ()
    every_s: float | None = None
    patient_w: int | None = None


async def run(plan: Plan, broker: AnyBroker, directory: Path) -> Report:
    """Run it to the end, or until SIGINT or SIGTERM; then check everything there is to check."""
    report = Report(plan.seed)
    async with arena_at(broker, directory) as arena:
        with _ending_by_signal(arena):
            await _disturb(plan, arena, report)
        await _come_to_rest(arena)
        report.answers = arena.answers
        report.peak_memory_mib = {name: member.peak_memory_mib for name, member in arena.members.items()}
        report.records = arena.master.disk.end.offset
        report.looks = arena.witness.looks
        report.seconds = arena.witness.now()
        violation = await asyncio.to_thread(check, arena.witness.history())
        if violation is not None:
            arena.witness.violations.append(str(violation))
        report.violations = arena.witness.violations
        if report.violations:
            await asyncio.to_thread(_keep, arena, directory)
    return report


async def _disturb(plan: Plan, arena: Arena, report: Report) -> None:
    random = Random(plan.seed)
    kinds, left_out = await asyncio.to_thread(
        possible_here, [kind for kind in KINDS if kind.name in plan.only or not plan.only], arena
    )
    report.left_out = [kind.name for kind in left_out]
    enough = asyncio.Event()
    try:
        async with under_watch(arena), asyncio.TaskGroup() as tasks:
            for number in range(CLIENTS):
                client, own = arena.client(), Random(random.random())
                if plan.patient_w is not None:
                    violations = arena.witness.violations
                    tasks.create_task(append_without_error(client, enough, own, plan.patient_w, violations))
                else:
                    appends = append_with_keys if number < KEYED else append_for_ever
                    tasks.create_task(appends(client, enough, own))
            limit = asyncio.get_running_loop().call_later(plan.minutes * 60, arena.over.set)
            rounds = Rounds(arena, Deck(kinds, random), report, random)
            if plan.every_s is None:
                await rounds.run()
            else:
                await rounds.run_by_the_clock(plan.every_s)
            limit.cancel()
            enough.set()
        if not arena.witness.violations:
            await _end(arena)
    except* Exception as errors:  # noqa: BLE001 - whatever goes other than it must is to be reported
        arena.witness.violations.append(f"end: {first_leaf(errors)!r}")


async def _end(arena: Arena) -> None:
    """With nothing going on any more, every node shows the whole log, stops in order, and has it on disk."""
    await arena.master.look()
    master = arena.master.disk
    for member in arena.members.values():

        async def shows_all(member: Member = member) -> bool:
            await member.look()
            return member.disk.end == master.end

        await eventually(shows_all, f"{member.name} shows the whole log")
    log = [told(message) for message in await arena.cluster.converged()]
    assert log == [message for _, _, message in master.records], "GET / shows another log"
    arena.witness.ends()
    await eventually(partial(_nothing_is_left, arena), "the broker has what the nodes use now, and nothing else")
    for member in arena.members.values():
        await member.stop()
        arena.check_log_text(member)
    for member in arena.secondaries:
        said = await asyncio.to_thread(_compared, arena.master.node.data, member.node.data)
        assert said.endswith("they are equal\n"), f"the logs on disk: {said}"


async def _come_to_rest(arena: Arena) -> None:
    """Where a violation has ended the campaign, there are disks that nobody has looked at for a while."""
    for member in arena.members.values():
        try:
            await member.come_to_rest()
        except Exception as error:  # noqa: BLE001 - one more violation, which must not hide those before it
            arena.witness.violations.append(f"rest: {member.name}: {error!r}")


async def _nothing_is_left(arena: Arena) -> bool:
    """Of all sessions there have been, the broker keeps nothing."""
    connections, queues = await arena.management.get("connections"), await arena.management.get("queues", "/")
    nodes, secondaries = len(arena.members), len(arena.secondaries)
    return len(connections) == 2 * nodes and len(queues) == nodes + secondaries


def _keep(arena: Arena, directory: Path) -> None:
    """Leave in ``directory`` what tells how it came to a violation: the small disks are gone in a moment."""
    for member in arena.members.values():
        if member.small_disk is not None and member.node.data.exists():
            shutil.copytree(member.node.data, directory / f"{member.name}-data")
    with (directory / "history.jsonl").open("w") as file:
        for line in to_lines(event for event in arena.witness.history() if not isinstance(event, Read)):
            file.write(f"{line}\n")


def _compared(one: Path, other: Path) -> str:
    """What the command says that verifies two logs."""
    command = [sys.executable, "-m", "replicated_log", "check", str(one), str(other)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout


@contextmanager
def _ending_by_signal(arena: Arena) -> Iterator[None]:
    """The first SIGINT or SIGTERM ends the campaign in good order; a second one interrupts it."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def end() -> None:
        print("ending: what goes on may heal first", flush=True)
        arena.over.set()
        restore()

    def restore() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.default_int_handler)

    for number in numbers:
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        restore()
