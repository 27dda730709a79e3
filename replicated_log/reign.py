"""The master's half of the protocol: one master's reign, from opening its log to closing it.

The object is driven: events go in by method calls, decisions come out of :meth:`Reign.decisions`, and nothing here
reads a clock or does I/O. These are the rules; whoever follows them in another language can take part.

1.  A reign has a log id (made with the log), an epoch (one more than any reign before it on this disk, durable before
    anything else is said) and a random reign id. Every delivery names all three.
2.  Appends that wait while a commit runs are gathered into batches and committed together. At most one commit runs.
    Only what is on the master's own disk is published, and only what w nodes hold is answered.
3.  Batches are published to the fanout exchange in log order, with a bounded window of unconfirmed deliveries.
    A confirm frees the window and never counts as a copy. Nothing is ever published twice: after a (re)connection, a
    refused publish, or when too much waits, publishing goes on at the log's end, and whoever lacks something fetches.
4.  A beat each second says how far has been published, and how far a majority holds. A secondary answers each beat
    with an ack, so a lost ack costs a second.
5.  Acks are cumulative. One counts only if its node is configured, its log and reign are this one's, and its chain
    equals the master's own at that offset. After an own restart everybody counts 0 until the first such ack. An ack of
    another disk id sets its node's count to 0; from then on only a disk counts that has heard a beat sent after that,
    so that whatever is still on its way from the retired disk does not.
6.  A fetch is answered with stored batches from the asked offset on, at most one delivery full. It never counts.
7.  When a configured secondary holds records that this log does not (more of them, others, those of another log), or
    knows another master of this log that is not older, the master may have lost its past: it refuses appends until
    the node's log turns out to be its own, or the node has another disk. So that it learns this before it adds to what
    is left, a reign commits nothing until it has judged an ack of every configured secondary, or HEARING_S have passed.
8.  If a quorum is required, the master also refuses appends while fewer than a majority of the configured nodes are
    alive. Silence never changes how many nodes must ack.
"""

from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from replicated_log.batch import (
    HEADER_BYTES,
    LENGTH_BYTES,
    MAX_BATCH_BYTES,
    MAX_BATCH_RECORDS,
    Batch,
    Position,
    encode_batch,
)
from replicated_log.delivery import BEAT_INTERVAL_S, MAX_DELIVERY_BYTES, Ack, Beat, Fetch, Fetched, LiveBatches, ReignId
from replicated_log.progress import Progress
from replicated_log.waiters import Waiters
from replicated_log.write_concern import majority

HEARING_S: Final = 2.0
"""From the first connection on; without one, HEARING_UNCONNECTED_S from the beginning."""
HEARING_UNCONNECTED_S: Final = 4.0
MAX_WAITING: Final = 20_000
"""Appends that wait, be it for the disk or for copies."""
MAX_UNCOMMITTED_BYTES: Final = 64 << 20
MAX_UNCONFIRMED: Final = 16
"""Deliveries published and not yet confirmed."""
MAX_UNPUBLISHED_BYTES: Final = 16 << 20
MAX_COMMIT_BATCHES: Final = 4

Ticket = TypeVar("Ticket", bound=Hashable)


class OverloadedError(Exception):
    """Raised by :meth:`Reign.append`: too many appends wait, or too many bytes of them; nothing was appended."""


class ReadOnlyError(Exception):
    """Raised by :meth:`Reign.append`: this master must not append now; nothing was appended."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Store these batches in one durable commit, then call :meth:`Reign.committed` or :meth:`Reign.commit_refused`."""

    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True)
class Appended(Generic[Ticket]):
    """The ticket's records are on the master's disk from ``offset`` on."""

    ticket: Ticket
    offset: int


@dataclass(frozen=True, slots=True)
class Reached(Generic[Ticket]):
    """As many nodes as asked for hold the ticket's records."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class NotAppended(Generic[Ticket]):
    """Nothing of the ticket is stored: this master has become read-only, or else (None) its disk is full."""

    ticket: Ticket
    read_only: str | None


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish to the fanout exchange. For batches, call :meth:`Reign.confirmed` when the broker has confirmed."""

    delivery: LiveBatches | Beat


@dataclass(frozen=True, slots=True)
class ReadChain:
    """Read the chain at ``offset`` from the log, then call :meth:`Reign.chain_read`."""

    offset: int


@dataclass(frozen=True, slots=True)
class AnswerFetch:
    """Read up to MAX_DELIVERY_BYTES of batches from the log, and send :meth:`Reign.fetched` to ``fetch.reply_to``."""

    fetch: Fetch


Decision = Commit | Appended[Ticket] | Reached[Ticket] | NotAppended[Ticket] | Publish | ReadChain | AnswerFetch


@dataclass(frozen=True, slots=True)
class _Append(Generic[Ticket]):
    ticket: Ticket
    messages: Sequence[bytes]
    size: int
    w: int
    time_ms: int


class Reign(Generic[Ticket]):
    """Invariant: what is published is on the master's disk; what waits to be published ends at the log's end."""

    def __init__(
        self, reign: ReignId, secondaries: Iterable[str], end: Position, *, require_quorum: bool = False
    ) -> None:
        """Begin with the log on disk up to ``end``; ``secondaries`` are the configured ones, by name."""
        self.id = reign
        self.require_quorum = require_quorum
        self.progress = Progress(reign, secondaries, end)
        self.published_end = end.offset
        self._decisions: deque[Decision[Ticket]] = deque()
        self._waiters: Waiters[Ticket] = Waiters()
        self._appends: deque[_Append[Ticket]] = deque()
        self._uncommitted: set[Ticket] = set()
        self._uncommitted_bytes = 0
        self._committing: list[tuple[_Append[Ticket], int]] = []
        self._commit: Commit | None = None
        self._reply_to: str | None = None
        self._unpublished: deque[Batch] = deque()
        self._unpublished_bytes = 0
        self._unconfirmed = 0
        self._next_beat = 0.0
        self._hearing = not self.progress.all_heard
        self._hear_until: float | None = None
        self._asked = False

    def decisions(self) -> list[Decision[Ticket]]:
        """What is to be done now, in this order. Each decision is given out once."""
        self._plan_publish()
        self._plan_commit()
        taken = list(self._decisions)
        self._decisions.clear()
        return taken

    @property
    def waiting(self) -> int:
        return len(self._appends) + len(self._committing) + len(self._waiters)

    def read_only(self, now: float) -> str | None:
        """Why this master must not append now; None when it may. ``now`` is monotonic time in seconds."""
        if conflict := self.progress.conflict:
            return conflict
        alive, quorum = self.progress.alive(now), majority(self.progress.nodes)
        if self.require_quorum and alive < quorum:
            return f"{alive} of {self.progress.nodes} nodes are alive, and a quorum of {quorum} is required to append"
        return None

    def append(self, ticket: Ticket, messages: Sequence[bytes], *, w: int, time_ms: int, now: float) -> None:
        """Append messages (UTF-8, together within one batch) atomically, and wait until ``w`` nodes hold them.

        Appended, then Reached follow, or NotAppended. No ticket is used twice. Raises ReadOnlyError or OverloadedError.
        """
        if reason := self.read_only(now):
            raise ReadOnlyError(reason)
        size = sum(map(len, messages)) + LENGTH_BYTES * len(messages)
        assert 0 < len(messages) <= MAX_BATCH_RECORDS
        assert size <= MAX_BATCH_BYTES - HEADER_BYTES
        if self.waiting >= MAX_WAITING or self._uncommitted_bytes + size > MAX_UNCOMMITTED_BYTES:
            raise OverloadedError(f"{self.waiting} appends wait, {self._uncommitted_bytes} bytes of them for the disk")
        self._uncommitted_bytes += size
        self._uncommitted.add(ticket)
        self._appends.append(_Append(ticket, messages, size, w, time_ms))

    def wait(self, ticket: Ticket, offset: int, w: int) -> None:
        """Wait until ``w`` nodes hold the record at ``offset``; Reached follows."""
        self._waiters.add(ticket, offset, w)
        self._answer()

    def forget(self, ticket: Ticket) -> None:
        """Nobody waits for this ticket any more. What was appended stays, and is replicated all the same."""
        self._uncommitted.discard(ticket)
        self._waiters.forget(ticket)

    def committed(self) -> None:
        """The batches of the last Commit are on disk."""
        assert self._commit is not None
        batches, self._commit = self._commit.batches, None
        self.progress.committed([batch.end for batch in batches])
        for append, offset in self._committing:
            self._uncommitted_bytes -= append.size
            if append.ticket in self._uncommitted:
                self._uncommitted.remove(append.ticket)
                self._decisions.append(Appended(append.ticket, offset))
                self._waiters.add(append.ticket, offset + len(append.messages) - 1, append.w)
        self._committing.clear()
        if self._reply_to is None:
            self._skip_publishing()
        else:
            self._unpublished.extend(batches)
            self._unpublished_bytes += sum(len(batch.data) for batch in batches)
            if self._unpublished_bytes > MAX_UNPUBLISHED_BYTES:
                self._skip_publishing()
        self._answer()

    def commit_refused(self) -> None:
        """Nothing of the last Commit is on disk, for want of room."""
        self._commit = None
        for append, _ in self._committing:
            self._refuse(append, None)
        self._committing.clear()

    def connected(self, reply_to: str) -> None:
        """The broker can be published to; acks and fetches come in by the queue ``reply_to``."""
        self._reply_to = reply_to
        self._unconfirmed = 0
        self._next_beat = 0.0
        self._skip_publishing()

    def connection_lost(self) -> None:
        self._reply_to = None
        self.progress.connection_lost()
        self._skip_publishing()

    def confirmed(self) -> None:
        """The broker has taken, or refused, one delivery of batches that was published on the present connection.

        Refused ones are fetched by whoever lacks them.
        """
        self._unconfirmed -= 1
        assert self._unconfirmed >= 0

    def receive(self, delivery: Ack | Fetch, now: float) -> None:
        match delivery:
            case Ack():
                unknown_chain_at = self.progress.ack(delivery, now)
                if unknown_chain_at is not None:
                    self._decisions.append(ReadChain(unknown_chain_at))
                self._answer()
            case Fetch():
                if self.progress.fetch(delivery, now):
                    self._decisions.append(AnswerFetch(delivery))

    def chain_read(self, offset: int, chain: bytes | None, now: float) -> None:
        """The log's chain at ``offset``; None when no batch ends there."""
        self.progress.chain_read(offset, chain, now)
        self._answer()

    def fetched(self, fetch: Fetch, batches: Sequence[Batch]) -> Fetched:
        """The answer to a fetch, of the batches read from the log."""
        return Fetched(self.id, fetch.request_id, self.published_end, tuple(batches))

    def tick(self, now: float) -> None:
        """Time passes. To be called at least every BEAT_INTERVAL_S, and at once after :meth:`connected`."""
        self._limit_hearing(now)
        if self._reply_to is not None and now >= self._next_beat:
            self._next_beat = now + BEAT_INTERVAL_S
            self._plan_publish()
            self.progress.beats += 1
            beat = Beat(self.id, self.progress.beats, self.published_end, self.progress.committed_end, self._reply_to)
            self._decisions.append(Publish(beat))

    def _limit_hearing(self, now: float) -> None:
        if self._reply_to is not None and not self._asked:
            self._asked = True
            self._hear_until = now + HEARING_S
        elif self._hear_until is None:
            self._hear_until = now + HEARING_UNCONNECTED_S
        elif now >= self._hear_until:
            self._hearing = False

    def _plan_commit(self) -> None:
        if self.progress.conflict is not None:
            while self._appends:
                self._refuse(self._appends.popleft(), self.progress.conflict)
        if self._hearing:
            self._hearing = not self.progress.all_heard
        if self._commit is not None or self._hearing or not self._appends:
            return
        batches: list[Batch] = []
        previous = self.progress.end
        while self._appends and len(batches) < MAX_COMMIT_BATCHES:
            gathered = self._gather(previous.offset)
            batch = encode_batch(
                [message for append in gathered for message in append.messages],
                log_id=self.id.log_id,
                epoch=self.id.epoch,
                time_ms=gathered[0].time_ms,
                previous=previous,
            )
            batches.append(batch)
            previous = batch.end
        self._commit = Commit(tuple(batches))
        self._decisions.append(self._commit)

    def _refuse(self, append: _Append[Ticket], read_only: str | None) -> None:
        self._uncommitted_bytes -= append.size
        self._uncommitted.discard(append.ticket)
        self._decisions.append(NotAppended(append.ticket, read_only))

    def _gather(self, offset: int) -> list[_Append[Ticket]]:
        """Take the appends that go into the next batch, which begins at ``offset``."""
        gathered: list[_Append[Ticket]] = []
        count, size = 0, HEADER_BYTES
        while self._appends:
            append = self._appends[0]
            if gathered and (count + len(append.messages) > MAX_BATCH_RECORDS or size + append.size > MAX_BATCH_BYTES):
                break
            gathered.append(self._appends.popleft())
            self._committing.append((append, offset + count))
            count += len(append.messages)
            size += append.size
        return gathered

    def _plan_publish(self) -> None:
        while self._reply_to is not None and self._unpublished and self._unconfirmed < MAX_UNCONFIRMED:
            batches = [self._unpublished.popleft()]
            size = len(batches[0].data)
            while self._unpublished and size + len(self._unpublished[0].data) <= MAX_DELIVERY_BYTES:
                batches.append(self._unpublished.popleft())
                size += len(batches[-1].data)
            self._unpublished_bytes -= size
            self._unconfirmed += 1
            self.published_end = batches[-1].end.offset
            self._decisions.append(Publish(LiveBatches(self.id, tuple(batches), self._reply_to)))

    def _skip_publishing(self) -> None:
        self._unpublished.clear()
        self._unpublished_bytes = 0
        self.published_end = self.progress.end.offset

    def _answer(self) -> None:
        for ticket in self._waiters.pop_reached(self.progress.held_by):
            self._decisions.append(Reached(ticket))
