"""Waiting until an offset that moves has passed a place."""

import asyncio
from bisect import bisect_left, insort
from collections.abc import Callable


class _Place:
    """An offset that one or more tasks wait to see passed."""

    __slots__ = ("passed", "waiting")

    def __init__(self) -> None:
        self.passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting = 0


class OffsetWatch:
    """Tasks wait here until an offset that moves has passed a place. For the event loop's thread only.

    The code that moves the offset calls :meth:`moved` then, which costs next to nothing while no place is passed.

    Invariant: there is a place, in ``_offsets`` in order, exactly where a task waits; so waits that were cancelled take
    no memory.
    """

    def __init__(self, read: Callable[[], int]) -> None:
        """``read`` returns where the offset is now."""
        self._read = read
        self._places: dict[int, _Place] = {}
        self._offsets: list[int] = []

    @property
    def offset(self) -> int:
        return self._read()

    @property
    def places(self) -> list[int]:
        """The offsets at which tasks wait, in order."""
        return list(self._offsets)

    def moved(self) -> None:
        """Wake the tasks whose place the offset has passed."""
        if not self._offsets:
            return
        offset = self._read()
        while self._offsets and self._offsets[0] < offset:
            self._places.pop(self._offsets.pop(0)).passed.set_result(None)

    async def passed(self, offset: int) -> None:
        """Return when the watched offset is above ``offset``. The wait may be cancelled."""
        while self._read() <= offset:
            place = self._places.get(offset)
            if place is None:
                place = self._places[offset] = _Place()
                insort(self._offsets, offset)
            place.waiting += 1
            try:
                # Many tasks may wait here: unlike a bare await, this leaves the future alone when one is cancelled.
                await asyncio.wait((place.passed,))
            finally:
                place.waiting -= 1
                if place.waiting == 0 and not place.passed.done():
                    del self._places[offset]
                    del self._offsets[bisect_left(self._offsets, offset)]
