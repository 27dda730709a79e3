"""Waiting until an offset that moves gets beyond a place."""

import asyncio
from bisect import bisect_left, insort
from collections.abc import Callable


class _Place:
    """Where some wait together."""

    __slots__ = ("passed", "waiting")

    def __init__(self) -> None:
        self.passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting = 0


class OffsetWatch:
    """An offset that moves, and those who wait for it to get beyond one. All of it belongs to the loop's thread.

    Whoever moves the offset calls :meth:`moved`, which costs next to nothing while it has passed nobody's place.

    Invariant: there is a place, in ``_offsets`` in order, exactly where somebody waits; so what nobody waits for any
    more takes no memory.
    """

    def __init__(self, read: Callable[[], int]) -> None:
        """``read`` tells where the offset is now."""
        self._read = read
        self._places: dict[int, _Place] = {}
        self._offsets: list[int] = []

    @property
    def offset(self) -> int:
        return self._read()

    @property
    def places(self) -> list[int]:
        """Where somebody waits, in order."""
        return list(self._offsets)

    def moved(self) -> None:
        """Wake those whose place the offset has passed."""
        if not self._offsets:
            return
        offset = self._read()
        while self._offsets and self._offsets[0] < offset:
            self._places.pop(self._offsets.pop(0)).passed.set_result(None)

    async def passed(self, offset: int) -> None:
        """Return when the mark is above ``offset``. Cancel the wait at will."""
        while self._read() <= offset:
            place = self._places.get(offset)
            if place is None:
                place = self._places[offset] = _Place()
                insort(self._offsets, offset)
            place.waiting += 1
            try:
                # Many may wait here: unlike a bare await, this leaves the future alone when one of them is cancelled.
                await asyncio.wait((place.passed,))
            finally:
                place.waiting -= 1
                if place.waiting == 0 and not place.passed.done():
                    del self._places[offset]
                    del self._offsets[bisect_left(self._offsets, offset)]
