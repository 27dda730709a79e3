"""Where the log must get, and where it would be nice to get: medians, on a machine of two processors."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure is to reach ``required``, and better ``stretch``; or not to exceed them, if the goal ``is_limit``."""

    required: float
    stretch: float | None = None
    is_limit: bool = False
    unit: str = ""

    def verdict(self, figure: float) -> str:
        """Ends in ``met``, or in by how much it is missed."""
        if self.stretch is not None and self._missing(figure, self.stretch) <= 0:
            return "stretch met"
        missing = self._missing(figure, self.required)
        return "met" if missing <= 0 else f"short by {number(missing)}{self.unit}"

    def _missing(self, figure: float, wanted: float) -> float:
        return figure - wanted if self.is_limit else wanted - figure


@dataclass(frozen=True, slots=True)
class PeerGoals:
    """For our rates as parts of a peer's."""

    singles: Goal | None = None
    batches: Goal | None = None


EMPTY_APP: Final = Goal(0.6, 0.8)
POSTGRESQL: Final = PeerGoals(singles=Goal(0.7, 1.0), batches=Goal(1.1, 1.5))
REDIS: Final = PeerGoals(batches=Goal(1.5, 2.0))
ETCD: Final = PeerGoals(singles=Goal(1.7, 2.2))
QUORUM_QUEUE: Final = PeerGoals(singles=Goal(2.5, 3.5))
ONE_CLIENT_AGAINST_FLOOR: Final = Goal(1.5, 1.2, is_limit=True)
P99_AGAINST_P50: Final = Goal(3, 2, is_limit=True)
UNHEALTHY_AGAINST_HEALTHY: Final = Goal(0.9, 1.0)
CATCH_UP: Final = Goal(200_000, 400_000, unit="/s")
READING: Final = Goal(400_000, 800_000, unit="/s")
MEMORY_AGAINST_LESS: Final = Goal(1.2, is_limit=True)
"""Ten times the log, or a dead secondary's backlog, may not show; an allocator's moods may."""


def number(figure: float) -> str:
    """What was measured, as it reads: three significant digits, or all that are before the point; no exponent."""
    return f"{figure:,.0f}" if figure >= 100 else f"{Decimal(f'{figure:#.3g}'):f}"
