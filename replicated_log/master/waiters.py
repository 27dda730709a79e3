"""Waits for a record to be on a number of nodes."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

Waiter = TypeVar("Waiter", bound=Hashable)

_TIDY_FROM: Final = 64


class Waiters(Generic[Waiter]):
    """Waiters, each waiting until ``w`` nodes hold everything up to and including an offset.

    Those of one batch wait as a group: no node holds a part of a batch.
    Invariant: every live waiter is in exactly one group, which is in the heap of its w. A forgotten waiter stays in its
    group until that is reached, or until forgotten ones outnumber the living; so forgotten waiters take bounded memory.
    """

    def __init__(self) -> None:
        self._heaps: dict[int, list[tuple[int, int, Sequence[Waiter]]]] = {}
        self._waiting: set[Waiter] = set()
        self._forgotten = 0
        self._next = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiters: Sequence[Waiter], offset: int, w: int) -> None:
        """No waiter is added twice."""
        assert self._waiting.isdisjoint(waiters)
        self._waiting.update(waiters)
        heappush(self._heaps.setdefault(w, []), (offset, self._next, waiters))
        self._next += 1

    def forget(self, waiter: Waiter) -> None:
        if waiter not in self._waiting:
            return
        self._waiting.remove(waiter)
        self._forgotten += 1
        if self._forgotten > max(_TIDY_FROM, len(self._waiting)):
            self._tidy()

    def pop_reached(self, held_by: Callable[[int], int]) -> Iterator[Sequence[Waiter]]:
        """Remove and return the waiters reached now, by groups; ``held_by(w)`` is the end of what w nodes hold."""
        for w, heap in self._heaps.items():
            end = held_by(w)
            while heap and heap[0][0] < end:
                _, _, waiters = heappop(heap)
                reached = self._living(waiters)
                self._waiting.difference_update(reached)
                self._forgotten -= len(waiters) - len(reached)
                if reached:
                    yield reached

    def _living(self, waiters: Sequence[Waiter]) -> Sequence[Waiter]:
        return [waiter for waiter in waiters if waiter in self._waiting]

    def _tidy(self) -> None:
        for heap in self._heaps.values():
            groups = [(offset, number, self._living(waiters)) for offset, number, waiters in heap]
            heap[:] = [group for group in groups if group[2]]
            heapify(heap)
        self._forgotten = 0
