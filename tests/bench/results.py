"""All that one benchmark has found."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.bench.goals import Goal, number
from tests.bench.rounds import Runs


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a figure of ours as it reads, maybe what it is held against, and the goal.

    ``judged`` is the figure that the goal is about: the ratio of both, or ours where it stands alone.
    ``spread`` is its least and greatest value over the rounds.
    """

    what: str
    ours: str
    against: str = ""
    judged: float | None = None
    spread: tuple[float, float] | None = None
    goal: Goal | None = None


@dataclass(slots=True)
class Results:
    """Experiments add to it as they go."""

    rows: list[Row] = field(default_factory=list)
    curves: dict[str, dict[int, Runs]] = field(default_factory=lambda: defaultdict(dict))
    """By contestant and the number of its clients, for the chart: single appends."""
    promises: dict[str, str] = field(default_factory=dict)
    """By contestant and its version: what holds once it has answered."""
    missing: dict[str, str] = field(default_factory=dict)
    """By experiment: why this machine can't do it."""
    failed: dict[str, str] = field(default_factory=dict)
    """By experiment: what went wrong in it."""


def compared_rates(what: str, ours: Runs, name: str, theirs: Runs, goal: Goal | None = None) -> Row:
    """Our rate as part of theirs: a ratio of medians."""
    return Row(
        what,
        rate_and_latencies(ours),
        f"{name}: {rate_and_latencies(theirs)}",
        ours.rate / theirs.rate,
        spread([mine / its for mine, its in zip(ours.rates, theirs.rates, strict=True)]),
        goal,
    )


def spread(figures: Sequence[float]) -> tuple[float, float]:
    return min(figures), max(figures)


def rate(per_second: float) -> str:
    return f"{number(per_second)}/s"


def rate_and_latencies(runs: Runs) -> str:
    """The medians of the rate, p50 and p99."""
    return f"{rate(runs.rate)}, {number(runs.p50_s * 1000)} / {milliseconds(runs.p99_s)}"


def milliseconds(seconds: float) -> str:
    return f"{number(seconds * 1000)} ms"
