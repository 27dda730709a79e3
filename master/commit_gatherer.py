"""Letting appends that come at about the same time share a commit."""

import asyncio
from collections.abc import Callable
from typing import Final

MAX_TURNS: Final = 4
"""For so many turns of the event loop an append waits for others at most."""
ENOUGH_RECORDS: Final = 1000
"""A commit costs little beside so many records, so they wait for no more."""


class CommitGatherer:
    """Calls ``perform``, which begins the next commit, once no other client seems to be about to append.

    A commit costs the master, the broker and every secondary together as much as some dozens of appends do; and clients
    that were answered at the same time append at nearly the same time again. So while a turn of the event loop brings
    several appends, the next turn is awaited, too, MAX_TURNS at most. An append that comes alone does not wait, nor
    does any once there are ENOUGH_RECORDS. When another event (an ack, the end of a commit) lets the reign decide
    meanwhile, its commit takes the appends that are there.
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
