"""What one run under load has measured."""

from dataclasses import dataclass


class LoadError(RuntimeError):
    """Something under load was not answered as it should be. The text says what: such a run measures nothing."""


@dataclass(frozen=True, slots=True)
class Load:
    """``done`` records were appended and answered, ``rate`` a second; half the requests took ``p50_s`` at most."""

    done: int
    rate: float
    p50_s: float
    p99_s: float
