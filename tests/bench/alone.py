"""What the log does alone: the other experiments as rows of the table."""

from statistics import median
from typing import Final

from tests.bench import broker_restart, catch_up, following, goals, memory, reading, slow_secondary
from tests.bench.appending import BATCH_CLIENTS, JUDGED_CLIENTS
from tests.bench.bench import Bench
from tests.bench.goals import number
from tests.bench.memory import Stage
from tests.bench.ours import BATCH
from tests.bench.results import Row, rate, spread

_FOLLOWERS: Final = 4
_CALM_S: Final = 1.5
"""So long at least is a load that begins when a node has just ended or started, which takes the processors at first."""


def read(bench: Bench) -> None:
    plan = bench.plan
    its = reading.measure(bench.ours, records=plan.records, runs=plan.rounds)
    bench.add(
        Row(
            f"reading {its.records:,} records as NDJSON, written in batches of {BATCH:,}",
            rate(its.rate),
            judged=its.rate,
            spread=spread(its.rates),
            goal=goals.READING,
        )
    )


def follow(bench: Bench) -> None:
    plan = bench.plan
    runs = [
        following.measure(bench.ours, followers=_FOLLOWERS, clients=BATCH_CLIENTS, seconds=plan.seconds)
        for _ in range(plan.rounds)
    ]
    delivered, written = median(its.delivered for its in runs), median(its.written for its in runs)
    behind_s = median(its.behind_s for its in runs)
    bench.add(
        Row(
            f"following by SSE, each of {_FOLLOWERS}, while batches are written",
            f"{rate(delivered)}, {number(max(behind_s, 0))} s behind the last answer",
            f"written: {rate(written)}",
            delivered / written,
            spread([its.delivered / its.written for its in runs]),
        )
    )


def catch_up_of_batches(bench: Bench) -> None:
    _catch_up(bench, bench.plan.records, BATCH)


def catch_up_of_singles(bench: Bench) -> None:
    _catch_up(bench, bench.plan.single_records, 1)


def _catch_up(bench: Bench, records: int, batch_records: int) -> None:
    directory = bench.directory("catch-up")
    its = catch_up.measure(
        bench.ours, directory, records=records, batch_records=batch_records, runs=bench.plan.slow_runs
    )
    written = f"batches of {batch_records:,}" if batch_records > 1 else "single appends"
    bench.add(
        Row(
            f"catch-up of an empty secondary, {its.records:,} records in {written}",
            f"{rate(its.rate)}; from the process's start {rate(its.rate_from_start)}",
            judged=its.rate,
            spread=spread(its.fetching),
            goal=goals.CATCH_UP if batch_records > 1 else None,
        )
    )


def restart_of_broker(bench: Bench) -> None:
    its = broker_restart.measure(bench.ours, runs=bench.plan.slow_runs)
    bench.add(
        Row(
            "from the broker taking connections again to an answer of w=3",
            f"{number(its.median_s)} s",
            spread=spread(its.seconds),
        )
    )


def unhealthy_secondary(bench: Bench) -> None:
    seconds = max(bench.plan.seconds, _CALM_S)
    its = slow_secondary.measure(bench.ours, clients=JUDGED_CLIENTS, seconds=seconds, rounds=bench.plan.rounds)
    kinds = {
        "one secondary is down": (its.dead, its.dead_ratio),
        f"one secondary is {slow_secondary.LATENCY_S} s slow": (its.slow, its.slow_ratio),
    }
    healthy = its.healthy
    for kind, (rates, ratio) in kinds.items():
        bench.add(
            Row(
                f"single POST, w=1, {JUDGED_CLIENTS} clients, while {kind}",
                rate(ratio * median(healthy)),
                f"all healthy: {rate(median(healthy))}",
                ratio,
                spread([one / other for one, other in zip(rates, healthy, strict=True)]),
                goals.UNHEALTHY_AGAINST_HEALTHY,
            )
        )


def memory_of_processes(bench: Bench) -> None:
    """What is judged is what one process has at most grown by, since the log or the backlog was shorter."""
    bench.renounce_ours()  # This has a log of its own, and all of the machine's memory.
    plan = bench.plan
    stages = memory.measure(bench.directory("memory"), lengths=plan.lengths, backlogs=plan.backlogs)
    before: Stage | None = None
    for stage in stages:
        _tell_memory(bench, stage, before)
        before = stage if stage.records else None


def _tell_memory(bench: Bench, stage: Stage, before: Stage | None) -> None:
    what = f"memory, {_length(stage)}"
    if before is None:
        bench.add(Row(what, _memory(stage)))
        return
    names = set(stage.processes)
    if stage.backlog and not before.backlog:
        names.remove("broker")  # It keeps the dead secondary's queue now, up to that queue's bound.
    grown = {name: stage.processes[name].resident_mib / before.processes[name].resident_mib for name in names}
    most = max(grown, key=grown.__getitem__)
    against = f"{_length(before)}: {most} {number(before.processes[most].resident_mib)} MiB"
    bench.add(Row(what, _memory(stage), against, grown[most], goal=goals.MEMORY_AGAINST_LESS))


def _length(stage: Stage) -> str:
    return f"a dead secondary {stage.backlog:,} behind" if stage.backlog else f"{stage.records:,} records"


def _memory(stage: Stage) -> str:
    each = (f"{name} {number(its.resident_mib)}" for name, its in stage.processes.items())
    peak = max(its.peak_mib for its in stage.processes.values())
    return f"{', '.join(each)} MiB; highest peak {number(peak)}"
