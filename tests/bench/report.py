"""What the benchmark tells: one Markdown table, then all that one must know to read it."""

from collections.abc import Iterable, Iterator, Mapping

from tests.bench.goals import Goal, number
from tests.bench.plan import Plan
from tests.bench.results import Results, Row

_TITLES = ("what", "ours", "against", "ratio", "rounds", "required", "stretch", "verdict")


def table(rows: Iterable[Row]) -> str:
    """Markdown that is aligned, since it is read in a terminal too."""
    lines = [_TITLES, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_TITLES))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    padded.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def report(results: Results, plan: Plan, machine: Mapping[str, str], chart: str | None) -> str:
    """The whole page; ``chart`` is the name of the picture beside it."""
    return "\n".join(_lines(results, plan, machine, chart))


def _lines(results: Results, plan: Plan, machine: Mapping[str, str], chart: str | None) -> Iterator[str]:
    yield from ("# Benchmark", "", table(results.rows), "")
    yield (
        f"Contestants take turns, {plan.seconds:g} s each, in rounds; their number is {plan.rounds}. Catch-up and the "
        f"broker's restart are measured {plan.slow_runs} times, memory once. Figures are medians; `rounds` are the "
        "least and greatest of what is judged. A ratio is one of medians. Behind a rate are p50 / p99 of a request. "
        "Messages have 100 bytes, batches 1,000 messages. Everything, the load too, is on one machine and on loopback, "
        "and every fsync is real. Load over HTTP is wrk's, whose percentiles count the requests that a slow answer "
        "kept its client from sending, too; those of the others (PostgreSQL, Redis and the quorum queue) do not."
    )
    if chart:
        yield from ("", f"![throughput and latency by clients]({chart})")
    yield from _section("What holds once a write was answered", results.promises)
    yield from _section("The machine", machine)
    yield from _section("Missing on this machine", results.missing)
    yield from _section("Failed", results.failed)


def _section(title: str, what: Mapping[str, str]) -> Iterator[str]:
    if what:
        yield from ("", f"## {title}", "")
        yield from (f"- {name}: {text}" for name, text in what.items())


def _cells(row: Row) -> tuple[str, ...]:
    ratio = number(row.judged) if row.judged is not None and row.against else ""
    rounds = " to ".join(number(figure) for figure in row.spread) if row.spread else ""
    return (row.what, row.ours, row.against, ratio, rounds, *_of_goal(row.goal, row.judged))


def _of_goal(goal: Goal | None, judged: float | None) -> tuple[str, str, str]:
    if goal is None or judged is None:
        return "", "", ""
    limit = "≤ " if goal.is_limit else ""
    stretch = "" if goal.stretch is None else f"{limit}{goal.stretch:,g}{goal.unit}"
    return f"{limit}{goal.required:,g}{goal.unit}", stretch, goal.verdict(judged)
