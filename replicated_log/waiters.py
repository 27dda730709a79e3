"""Who waits for which record to be on how many nodes."""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

Ticket = TypeVar("Ticket")

_TIDY_FROM: Final = 64


class Waiters(Generic[Ticket]):
    """Tickets, each waiting until ``w`` nodes hold everything up to and including an offset.

    Invariant: every live ticket is in exactly one heap, that of its w. What was forgotten stays in its heap until
    it comes up or outnumbers the living, so that waits that nobody waits for any more take bounded memory.
    """

    def __init__(self) -> None:
        self._heaps: dict[int, list[tuple[int, int]]] = {}
        self._tickets: dict[int, Ticket] = {}
        self._numbers: dict[Ticket, int] = {}
        self._forgotten = 0
        self._next = 0

    def __len__(self) -> int:
        return len(self._tickets)

    def add(self, ticket: Ticket, offset: int, w: int) -> None:
        number = self._next
        self._next += 1
        self._tickets[number] = ticket
        self._numbers[ticket] = number
        heappush(self._heaps.setdefault(w, []), (offset, number))

    def forget(self, ticket: Ticket) -> None:
        number = self._numbers.pop(ticket, None)
        if number is None:
            return
        del self._tickets[number]
        self._forgotten += 1
        if self._forgotten > max(_TIDY_FROM, len(self._tickets)):
            self._tidy()

    def pop_reached(self, held_by: Callable[[int], int]) -> Iterator[Ticket]:
        """Remove and return the tickets reached now; ``held_by(w)`` is the end of what w nodes hold."""
        for w, heap in self._heaps.items():
            end = held_by(w)
            while heap and heap[0][0] < end:
                _, number = heappop(heap)
                ticket = self._tickets.pop(number, None)
                if ticket is None:
                    self._forgotten -= 1
                else:
                    del self._numbers[ticket]
                    yield ticket

    def _tidy(self) -> None:
        for heap in self._heaps.values():
            heap[:] = [item for item in heap if item[1] in self._tickets]
            heapify(heap)
        self._forgotten = 0
