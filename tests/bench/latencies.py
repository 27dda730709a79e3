"""What single measured answers amount to."""

from collections.abc import Sequence

from tests.bench.load import Load, LoadError


def load_of(latencies_s: Sequence[float], *, seconds: float, records: int = 1) -> Load:
    """The load of requests that appended so many ``records`` each, within ``seconds``. Raises LoadError for none."""
    if not latencies_s:
        raise LoadError("nothing was answered")
    ordered = sorted(latencies_s)
    done = len(ordered) * records
    return Load(done, done / seconds, _percentile(ordered, 50), _percentile(ordered, 99))


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of all do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
