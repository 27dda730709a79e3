"""A line in which items wait side by side, each for its own time, and leave in the order they came."""

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class DelayLine(Generic[Item]):
    """Invariant: due times never decrease along the line, so that no delay, however it varies, changes the order."""

    def __init__(self) -> None:
        self._line: deque[tuple[float, Item]] = deque()

    def __len__(self) -> int:
        return len(self._line)

    @property
    def next_due(self) -> float | None:
        """When the first item may leave; None when there is none."""
        return self._line[0][0] if self._line else None

    def put(self, item: Item, due: float) -> None:
        self._line.append((max(due, self._line[-1][0]) if self._line else due, item))

    def take(self, now: float) -> Item | None:
        """Take the first item out if it is due; else None."""
        return self._line.popleft()[1] if self._line and self._line[0][0] <= now else None

    def let_leave_by(self, due: float) -> None:
        """Let no item that waits now wait beyond ``due``."""
        self._line = deque((min(each, due), item) for each, item in self._line)

    def drop_last(self) -> None:
        self._line.pop()

    def clear(self) -> None:
        self._line.clear()
