"""What the checker remembers: sequences of records, and the disks that hold the first records of one."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from tests.simulation.history import Record

_ROUNDING_S: Final = 1e-6


@dataclass(slots=True, eq=False)
class Line:
    """One sequence of records; ``digests`` maps an end to the digest of all bytes below it, ``keys`` keys to texts."""

    records: list[Record] = field(default_factory=list)
    digests: dict[int, str] = field(default_factory=dict)
    messages: set[str] = field(default_factory=set)
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def cut(self, end: int) -> "Line":
        records = self.records[:end]
        digests = {at: digest for at, digest in self.digests.items() if at <= end}
        messages = {record[2] for record in records}
        return Line(records, digests, messages, {key: body for key, body in self.keys.items() if body[0] in messages})


@dataclass(slots=True, eq=False)
class Disk:
    node: str
    line: Line
    end: int = 0
    shown: int = 0
    ack_delay: float = 0.0
    gone: bool = False
    announced: int = 0
    """What may be announced by now; ``delayed`` is what comes next: when, and up to where."""
    delayed: deque[tuple[float, int]] = field(default_factory=deque)

    def grow(self, end: int, time: float) -> None:
        self.end = end
        if self.ack_delay:
            self.delayed.append((time + self.ack_delay, end))
        else:
            self.announced = end

    def announced_by(self, time: float) -> int:
        while self.delayed and self.delayed[0][0] <= time + _ROUNDING_S:
            self.announced = self.delayed.popleft()[1]
        return self.announced

    def open(self) -> None:
        self.announced = self.end
        self.delayed.clear()
