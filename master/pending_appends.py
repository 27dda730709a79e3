"""Clients that wait for what becomes of their append, or for more nodes to hold a record."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from master.deadlines import Deadlines
from master.outcome import (
    EndMismatchError,
    Holders,
    KeyReusedError,
    NotCommittedError,
    NotReachedError,
    ReplicationResult,
)
from replicated_log.master.decisions import (
    EndMismatch,
    KeyReused,
    KeyUnreadable,
    NotAppended,
    Reached,
    Refusal,
    Replayed,
)
from replicated_log.master.reign import ReadOnlyError, Reign
from replicated_log.wire.errors import CorruptLogError, DiskFullError

logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class PendingAppend:
    """One client's append of ``count`` messages, or its wait for one record, until ``w`` nodes hold them.

    ``started`` is in monotonic seconds; ``log_end`` is where the log ended then. ``offset`` is None until the records
    are known to be on the master's disk. ``on_outcome`` is called once: with who held them at the moment when w nodes
    did, or with the error that ended the wait. After that call, and after :meth:`PendingAppends.forget`, it is None:
    the reign may keep the object for long, and must not keep the client's request with it.
    """

    count: int
    w: int
    log_end: int
    on_outcome: Callable[[ReplicationResult | Exception], None] | None
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


class PendingAppends:
    """Gives each client that waits its outcome, once: what the reign decides, or that the time is over.

    Invariant: each client that waits here has an append that the reign knows, and gets the outcome of this one only.
    """

    def __init__(self, reign: Reign[PendingAppend], node: str) -> None:
        """``node`` is the master's name."""
        self._reign = reign
        self._node = node
        self._waiting: Deadlines[PendingAppend] = Deadlines(self._give_up)

    def add(self, pending: PendingAppend, timeout_s: float) -> None:
        """The reign knows this append from now on."""
        self._waiting.add(pending, timeout_s)

    def forget(self, pending: PendingAppend) -> bool:
        """The client is gone; False when it did not wait any more."""
        waited = self._waiting.discard(pending)
        if waited:
            pending.on_outcome = None
            self._reign.forget(pending)
        return waited

    def shorten(self, timeout_s: float) -> None:
        """Let no client wait longer than ``timeout_s`` from now on."""
        self._waiting.shorten(timeout_s)

    def decided(
        self, outcome: Reached[PendingAppend] | Replayed[PendingAppend] | Refusal[PendingAppend], now: float
    ) -> None:
        """Carry out what the reign has decided."""
        match outcome:
            case Reached(reached):
                holders = self._holders(reached[0])  # The same for all records of one batch.
                for pending in reached:
                    self._answer(pending, _result(pending, holders, now))
            case Replayed(pending, offset, epoch):
                pending.place(offset, epoch, now)
                pending.replayed = True
            case NotAppended(pending, read_only):
                self._answer(pending, ReadOnlyError(read_only) if read_only else DiskFullError("no room for the log"))
            case EndMismatch(pending, end_offset):
                self._answer(pending, EndMismatchError(end_offset))
            case KeyReused(pending):
                self._answer(pending, KeyReusedError("an append of other messages has this key"))
            case KeyUnreadable(pending, error):
                # A new one for each client: the traceback of one that many raise would name them all.
                self._answer(pending, CorruptLogError(error.offset, error.fault))

    def _give_up(self, pending: PendingAppend) -> None:
        """The time is over: answer with what is known."""
        self._reign.forget(pending)
        if pending.offset is None:
            _call_back(pending, NotCommittedError("it is not known yet whether the message is on the master's disk"))
        else:
            _call_back(pending, NotReachedError(_result(pending, self._holders(pending), time.monotonic())))

    def _answer(self, pending: PendingAppend, outcome: ReplicationResult | Exception) -> None:
        if self._waiting.discard(pending):
            _call_back(pending, outcome)

    def _holders(self, pending: PendingAppend) -> Holders:
        assert pending.offset is not None
        last = pending.offset + pending.count - 1
        nodes = self._reign.progress.secondaries.values()
        since = [(node.name, node.acked_at(last)) for node in nodes if node.acked_end > last]
        missing = [node.name for node in nodes if node.acked_end <= last]
        return Holders([(self._node, pending.appended_at), *since], missing)


def _result(pending: PendingAppend, holders: Holders, now: float) -> ReplicationResult:
    assert pending.offset is not None
    return ReplicationResult(
        pending.offset, pending.count, pending.epoch, pending.replayed, pending.started, now, holders
    )


def _call_back(pending: PendingAppend, outcome: ReplicationResult | Exception) -> None:
    """An error in one client's answer must not keep the others from theirs, so it is only logged."""
    on_outcome, pending.on_outcome = pending.on_outcome, None
    assert on_outcome is not None
    try:
        on_outcome(outcome)
    except Exception:
        logger.exception("a client could not be told what became of its append")
