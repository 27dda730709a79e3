"""Clients that wait for what becomes of their append, or for copies."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from master.copies import Copies, EndMismatchError, Holders, KeyReusedError, NotCommittedError, NotReachedError
from master.deadlines import Deadlines
from replicated_log.log import DiskFullError
from replicated_log.log_reader import CorruptLogError
from replicated_log.reign import ReadOnlyError, Reign
from replicated_log.reign_decisions import (
    EndMismatch,
    KeyReused,
    KeyUnreadable,
    NotAppended,
    Reached,
    Refusal,
    Replayed,
)

logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Ticket:
    """One client's append of ``count`` messages, or wait for one, for ``w`` copies.

    ``started`` is in monotonic seconds; ``log_end`` is where the log ended then. ``offset`` is None until it is known
    to be on the master's disk. ``tell`` is called once: with who held it at the moment when w nodes did, or with why
    that can't be waited for any more. Then, or when nobody waits any more, it is None, as the reign may keep a ticket
    that it has forgotten for long.
    """

    count: int
    w: int
    log_end: int
    tell: Callable[[Copies | Exception], None] | None
    started: float
    offset: int | None = None
    epoch: int = 0
    replayed: bool = False
    appended_at: float = 0.0

    def place(self, offset: int, epoch: int, now: float) -> None:
        """The records are on the master's disk: since ``now``, or since before the request."""
        self.offset = offset
        self.epoch = epoch
        self.appended_at = self.started if offset < self.log_end else now


class Tickets:
    """Tells everybody who waits, once, what the reign decides, or that the time is over.

    Invariant: whoever waits here has a ticket that the reign knows, and no other ticket is ever told.
    """

    def __init__(self, reign: Reign[Ticket], node: str) -> None:
        """``node`` is the master's name."""
        self._reign = reign
        self._node = node
        self._waiting: Deadlines[Ticket] = Deadlines(self._give_up)

    def add(self, ticket: Ticket, timeout_s: float) -> None:
        """The reign knows this ticket from now on."""
        self._waiting.add(ticket, timeout_s)

    def forget(self, ticket: Ticket) -> bool:
        """Nobody waits for this ticket any more; whether somebody did."""
        waited = self._waiting.discard(ticket)
        if waited:
            ticket.tell = None
            self._reign.forget(ticket)
        return waited

    def shorten(self, timeout_s: float) -> None:
        """From now on nobody waits longer than this."""
        self._waiting.shorten(timeout_s)

    def decided(self, outcome: Reached[Ticket] | Replayed[Ticket] | Refusal[Ticket], now: float) -> None:
        """Carry out what the reign has decided."""
        match outcome:
            case Reached(tickets):
                holders = self._holders(tickets[0])  # As of all that is in one batch.
                for ticket in tickets:
                    self._tell(ticket, _copies(ticket, holders, now))
            case Replayed(ticket, offset, epoch):
                ticket.place(offset, epoch, now)
                ticket.replayed = True
            case NotAppended(ticket, read_only):
                self._tell(ticket, ReadOnlyError(read_only) if read_only else DiskFullError("no room for the log"))
            case EndMismatch(ticket, end_offset):
                self._tell(ticket, EndMismatchError(end_offset))
            case KeyReused(ticket):
                self._tell(ticket, KeyReusedError("an append of other messages has this key"))
            case KeyUnreadable(ticket, error):
                # Each has its own: one that is raised in many places tells of all of them.
                self._tell(ticket, CorruptLogError(error.offset, error.fault))

    def _give_up(self, ticket: Ticket) -> None:
        """The time is over: tell what is known."""
        self._reign.forget(ticket)
        if ticket.offset is None:
            _tell(ticket, NotCommittedError("it is not known yet whether the message is on the master's disk"))
        else:
            _tell(ticket, NotReachedError(_copies(ticket, self._holders(ticket), time.monotonic())))

    def _tell(self, ticket: Ticket, outcome: Copies | Exception) -> None:
        if self._waiting.discard(ticket):
            _tell(ticket, outcome)

    def _holders(self, ticket: Ticket) -> Holders:
        assert ticket.offset is not None
        last = ticket.offset + ticket.count - 1
        nodes = self._reign.progress.secondaries.values()
        since = [(node.name, node.acked_at(last)) for node in nodes if node.acked_end > last]
        missing = [node.name for node in nodes if node.acked_end <= last]
        return Holders([(self._node, ticket.appended_at), *since], missing)


def _copies(ticket: Ticket, holders: Holders, now: float) -> Copies:
    assert ticket.offset is not None
    return Copies(ticket.offset, ticket.count, ticket.epoch, ticket.replayed, ticket.started, now, holders)


def _tell(ticket: Ticket, outcome: Copies | Exception) -> None:
    """Whatever goes wrong with one client's answer, the others get theirs."""
    tell, ticket.tell = ticket.tell, None
    assert tell is not None
    try:
        tell(outcome)
    except Exception:
        logger.exception("a client could not be told what became of its append")
