"""Contestants that take turns, so that whatever else the machine does meets all of them alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from tests.bench.load import Load


@dataclass(frozen=True, slots=True)
class Runs:
    """What one contestant did, round by round. Its figures are medians."""

    loads: tuple[Load, ...]

    @property
    def rates(self) -> tuple[float, ...]:
        return tuple(load.rate for load in self.loads)

    @property
    def rate(self) -> float:
        return median(self.rates)

    @property
    def p50_s(self) -> float:
        return median(load.p50_s for load in self.loads)

    @property
    def p99_s(self) -> float:
        return median(load.p99_s for load in self.loads)


def alternate(contestants: Mapping[str, Callable[[], Load]], rounds: int) -> dict[str, Runs]:
    """In each round every contestant runs once, one after the other. Raises what they raise.

    Every other round goes backwards: what one leaves behind does not always meet the same next one.
    """
    loads: dict[str, list[Load]] = {name: [] for name in contestants}
    names = list(contestants)
    for _ in range(rounds):
        for name in names:
            loads[name].append(contestants[name]())
        names.reverse()
    return {name: Runs(tuple(its)) for name, its in loads.items()}
