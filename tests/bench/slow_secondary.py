"""What a client that waits for the master's disk alone (w=1) notices of a secondary that is down, or slow."""

from dataclasses import dataclass
from statistics import median
from typing import Final

from tests.bench.ours import Ours
from tests.cluster import eventually

LATENCY_S: Final = 3


@dataclass(frozen=True, slots=True)
class SlowSecondary:
    """Appends a second at w=1, measured in turn: all healthy; one secondary killed; the same one LATENCY_S late."""

    healthy: tuple[float, ...]
    dead: tuple[float, ...]
    slow: tuple[float, ...]

    @property
    def dead_ratio(self) -> float:
        """To all healthy."""
        return median(self.dead) / median(self.healthy)

    @property
    def slow_ratio(self) -> float:
        """To all healthy."""
        return median(self.slow) / median(self.healthy)


def measure(ours: Ours, *, clients: int, seconds: float, rounds: int) -> SlowSecondary:
    """``rounds`` of the three, each ``seconds`` long; afterwards all is healthy again. Raises LoadError.

    While the secondary is slow the load lasts LATENCY_S longer: before that none of its acks comes in.
    """
    healthy, dead, slow = [], [], []
    secondary = ours.cluster["c"]
    for _ in range(rounds):
        healthy.append(ours.singles(1, clients, seconds).rate)
        secondary.kill()
        dead.append(ours.singles(1, clients, seconds).rate)
        secondary.start(LATENCY=f"{LATENCY_S}")
        _wait_for_all(ours)
        slow.append(ours.singles(1, clients, LATENCY_S + seconds).rate)
        secondary.stop()
        secondary.start()
        _wait_for_all(ours)
    return SlowSecondary(tuple(healthy), tuple(dead), tuple(slow))


def _wait_for_all(ours: Ours) -> None:
    """Wait until nothing is left to catch up on, which would cost what the next load is to have."""

    async def nothing_is_missing() -> bool:
        ends = {(await node.status())["end_offset"] for node in ours.cluster.nodes}
        return len(ends) == 1 and await ours.cluster.is_healthy()

    ours.run(eventually(nothing_is_missing, "every secondary is healthy and has the whole log"))
