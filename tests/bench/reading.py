"""How fast a node gives its whole log to one who reads it as NDJSON."""

from dataclasses import dataclass
from statistics import median

from tests.bench.filling import fill
from tests.bench.light_reader import NDJSON, LightReader
from tests.bench.load import LoadError
from tests.bench.ours import ALL, Ours


@dataclass(frozen=True, slots=True)
class Reading:
    """The log had ``records`` records of 100 bytes, appended in batches of 1,000; ``rates`` are in records a second."""

    records: int
    rates: tuple[float, ...]

    @property
    def rate(self) -> float:
        return median(self.rates)


def measure(ours: Ours, *, records: int, runs: int) -> Reading:
    """Append ``records`` and read them, ``runs`` times, from the master. Where its log was empty they are all of it.

    Raises LoadError.
    """
    start = ours.end_offset()
    fill(ours.url, records, w=ALL)
    rates = []
    for _ in range(runs):
        with LightReader(ours.url, NDJSON, start=start) as reader:
            read = reader.read()
        if read.records != records:
            raise LoadError(f"{records} records were appended at {start}, and {read} was read")
        rates.append(records / read.seconds)
    return Reading(records, tuple(rates))
