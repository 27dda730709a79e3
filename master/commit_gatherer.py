"""When to commit at the latest: once the appends that come at about the same time are there."""

import asyncio
from collections.abc import Callable
from typing import Final

MAX_TURNS: Final = 4
"""Of the event loop."""
ENOUGH_RECORDS: Final = 1000
"""Where there are so many, a commit costs little beside them."""


class CommitGatherer:
    """Calls ``perform``, which begins the next commit, once nobody else seems to be about to append.

    A commit costs the master, the broker and every secondary together as much as some dozens of appends do; and those
    who were answered at the same time append at nearly the same time again. So while a turn of the event loop brings
    several appends, the next turn is awaited, too, MAX_TURNS at most. An append that comes alone waits for nobody, and
    nobody waits once there are ENOUGH_RECORDS. Whatever else lets the reign decide meanwhile (an ack, the end of a
    commit) takes those that are there.
    """

    def __init__(self, perform: Callable[[], None]) -> None:
        self._perform = perform
        self._loop = asyncio.get_running_loop()
        self._came = 0
        self._records = 0
        self._turns = 0

    def one_more(self, records: int) -> None:
        """An append of so many records has come."""
        self._came += 1
        self._records += records
        if not self._turns:
            self._await_turn()

    def _await_turn(self) -> None:
        self._turns += 1
        self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        came, self._came = self._came, 0
        if came > 1 and self._turns < MAX_TURNS and self._records < ENOUGH_RECORDS:
            self._await_turn()
        else:
            self._turns = self._records = 0
            self._perform()
