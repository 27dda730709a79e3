"""Time-outs: many at once, and most waits are over long before theirs."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

GRAIN_S: Final = 0.005

Waiter = TypeVar("Waiter", bound=Hashable)


class Deadlines(Generic[Waiter]):
    """Calls ``give_up`` for each waiter whose time is over, GRAIN_S late at most.

    Waits that end at nearly the same time share a timer: one for each would take a good part of an append's time.
    Invariant: there is a timer exactly for every grain of time in which a wait ends.
    """

    def __init__(self, give_up: Callable[[Waiter], None]) -> None:
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._grains: dict[Waiter, int] = {}
        self._groups: dict[int, set[Waiter]] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._grains)

    def add(self, waiter: Waiter, timeout_s: float) -> None:
        """Let ``waiter``, which does not wait yet, wait for ``timeout_s`` seconds."""
        assert waiter not in self._grains
        grain = self._grain(timeout_s)
        self._grains[waiter] = grain
        group = self._groups.get(grain)
        if group is None:
            self._groups[grain] = {waiter}
            self._timers[grain] = self._loop.call_at(grain * GRAIN_S, self._expire, grain)
        else:
            group.add(waiter)

    def discard(self, waiter: Waiter) -> bool:
        """End the wait of ``waiter``; False when it did not wait."""
        grain = self._grains.pop(waiter, None)
        if grain is None:
            return False
        group = self._groups[grain]
        group.remove(waiter)
        if not group:
            del self._groups[grain]
            self._timers.pop(grain).cancel()
        return True

    def shorten(self, timeout_s: float) -> None:
        """Let no waiter wait longer than ``timeout_s`` from now on."""
        latest = self._grain(timeout_s)
        for waiter, grain in list(self._grains.items()):
            if grain > latest:
                self.discard(waiter)
                self.add(waiter, timeout_s)

    def _grain(self, timeout_s: float) -> int:
        return int((self._loop.time() + timeout_s) / GRAIN_S) + 1

    def _expire(self, grain: int) -> None:
        for waiter in list(self._groups[grain]):
            if self.discard(waiter):
                self._give_up(waiter)
