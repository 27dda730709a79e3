"""The master's half of the protocol: one master's reign, from opening its log to closing it.

The object is driven: events go in by method calls, decisions come out of :meth:`Reign.decisions`, and nothing here
reads a clock or does I/O. These are the rules; a master in another language that follows them can take part.

1.  A reign has a log id (made with the log), an epoch (one more than any reign before it on this disk, durable before
    anything else is said) and a random reign id. Every delivery names all three.
2.  Appends that wait while a commit runs are gathered into batches and committed together. At most one commit runs.
    Only what is on the master's own disk is published, and only what w nodes hold is answered.
    An append may ask that the log end at a certain offset. That is judged when it is gathered: its turn has come, and
    everything gathered before it counts, in the same commit too. If that commit is refused, so is this append.
3.  Batches are published to the fanout exchange in log order, with a bounded window of unconfirmed deliveries.
    A confirm frees the window and never counts as a copy. Nothing is ever published twice: after a (re)connection, a
    refused publish, or when too much waits, publishing goes on at the log's end, and secondaries fetch what they lack.
4.  A beat each ``timings.beat_s`` says how far has been published, and how far a majority holds. A secondary answers
    each beat with an ack, so a lost ack costs no more than the time between two beats.
5.  Acks are cumulative. One counts only if its node is configured, its log and reign are this one's, and its chain
    equals the master's own at that offset. After an own restart every node counts 0 until its first such ack. An ack of
    another disk id sets its node's count to 0; from then on only a disk counts that has heard a beat sent after that,
    so that acks still on their way from the retired disk do not.
6.  A fetch is answered with stored batches from the asked offset on, at most one delivery full. It never counts.
7.  When a configured secondary holds records that this log does not (more of them, others, those of another log), or
    knows another master of this log that is not older, the master may have lost its past: it refuses appends until
    the node's log turns out to be its own, or the node has another disk. So that it learns this before it adds to what
    is left, a reign commits nothing until it has judged an ack of every configured secondary, or ``timings.hearing_s``
    have passed since it was first connected, and no ack that came by then is still to be judged.
8.  If a quorum is required, the master also refuses appends while fewer than a majority of the configured nodes are
    alive. Silence never changes how many nodes must ack.
9.  An append may have a key. The first one to come with a key claims it, and the log is asked for the key; meanwhile,
    and until it is decided, others that come with that key stand behind it. Appends without a key wait for none of
    this. Where the log has the key, nothing is appended, and all of them are answered: those with the same messages
    are replayed, at the offset that the log says, and wait for the copies that they ask for; the others have reused a
    key. That needs no append, so a read-only master does it too. It comes before what they ask of the log's end.
    Where damage hides whether the log has the key, that is the answer to all of them: their messages may be in it.
10. Where the log does not have the key, the first one goes on as an append without a key does. Once it is on disk,
    those behind it are replayed, or have reused its key. A refusal uses up no key: where the log does not end as the
    first one asks, the next one takes its place; where nobody may append, or the disk is full, all are refused.
    The key is in the same batch as the messages, so that after a restart the log has the one if it has the other.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, Generic

from replicated_log.master.append_queue import Append, AppendQueue, memory_of
from replicated_log.master.decisions import AnswerFetch, Commit, Decision, Publish, Reached, ReadChain, Waiter
from replicated_log.master.progress import Progress
from replicated_log.master.publish_window import PublishWindow
from replicated_log.master.waiters import Waiters
from replicated_log.timings import DEFAULT, Timings
from replicated_log.wire.batch import MAX_APPEND_BYTES, MAX_BATCH_RECORDS, Batch, Position, append_size, encode_batch
from replicated_log.wire.delivery import Ack, Beat, Fetch, Fetched, LiveBatches, ReignId
from replicated_log.wire.errors import CorruptLogError
from replicated_log.wire.idempotency import KeyedAppend, digest, is_key
from replicated_log.write_concern import majority

MAX_WAITING: Final = 20_000
"""Appends that wait for the disk, or for other nodes."""
MAX_UNCOMMITTED_BYTES: Final = 64 << 20
"""The memory that appends take until they are decided."""
MAX_COMMIT_BATCHES: Final = 4


class OverloadedError(Exception):
    """Raised by :meth:`Reign.append` and ``wait``: too many clients or bytes wait; nothing was appended."""


class ReadOnlyError(Exception):
    """Raised by :meth:`Reign.append`: this master must not append now; nothing was appended."""


class Reign(Generic[Waiter]):
    """Invariant: what is published is on the master's disk; what waits to be published ends at the log's end."""

    def __init__(
        self,
        reign: ReignId,
        secondaries: Iterable[str],
        end: Position,
        *,
        require_quorum: bool = False,
        timings: Timings = DEFAULT,
    ) -> None:
        """Begin with the log on disk up to ``end``; ``secondaries`` are the configured ones, by name."""
        self.id = reign
        self.require_quorum = require_quorum
        self.timings = timings
        self.progress = Progress(reign, secondaries, end, timings)
        self._decisions: deque[Decision[Waiter]] = deque()
        # Given out first, so that the disk and the secondaries are at work while many clients are answered.
        self._first: deque[Commit | Publish] = deque()
        self._waiters: Waiters[Waiter] = Waiters()
        self._appends = AppendQueue(self._decisions, self._waiters)
        self._commit: Commit | None = None
        self._reply_to: str | None = None
        self._unpublished = PublishWindow(end.offset)
        self._next_beat = 0.0
        self._hearing = not self.progress.all_heard
        self._hear_until: float | None = None
        self._asked = False

    def decisions(self) -> list[Decision[Waiter]]:
        """What is to be done now, in this order. Each decision is given out once."""
        self._plan_publish()
        self._plan_commit()
        taken = [*self._first, *self._decisions]
        self._first.clear()
        self._decisions.clear()
        return taken

    @property
    def waiting(self) -> int:
        return len(self._appends) + len(self._waiters)

    @property
    def published_end(self) -> int:
        return self._unpublished.published_end

    def read_only(self, now: float) -> str | None:
        """Why this master must not append now; None when it may. ``now`` is monotonic time in seconds."""
        if conflict := self.progress.conflict:
            return conflict
        if not self.require_quorum:
            return None
        alive, quorum = self.progress.alive(now), majority(self.progress.nodes)
        if alive < quorum:
            return f"{alive} of {self.progress.nodes} nodes are alive, and a quorum of {quorum} is required to append"
        return None

    def append(
        self,
        waiter: Waiter,
        messages: Sequence[bytes],
        *,
        w: int,
        time_ms: int,
        now: float,
        key: str | None = None,
        if_end: int | None = None,
    ) -> None:
        """Append messages (UTF-8, together within one batch) atomically, and wait until ``w`` nodes hold them.

        Appended or Replayed, then Reached follow; or NotAppended, EndMismatch, KeyReused or KeyUnreadable. No waiter is
        used twice.
        Raises ReadOnlyError or OverloadedError.
        """
        assert key is None or is_key(key)
        if key is None and (reason := self.read_only(now)):
            raise ReadOnlyError(reason)
        size = append_size(messages, key)
        assert 0 < len(messages) <= MAX_BATCH_RECORDS
        assert size <= MAX_APPEND_BYTES
        memory = memory_of(messages, size)
        if self._appends.bytes + memory > MAX_UNCOMMITTED_BYTES or self.waiting >= MAX_WAITING:
            raise OverloadedError(f"{self.waiting} appends wait, {self._appends.bytes} bytes of them for the disk")
        named = b"" if key is None else digest(messages)
        self._appends.add(Append(waiter, messages, size, memory, w, time_ms, key, named, if_end))

    def key_found(self, key: str, found: KeyedAppend | None, now: float) -> None:
        """What the log holds under a key that a FindKey asked for."""
        if found is not None:
            self._appends.found(found)
            self._answer()
        elif reason := self.read_only(now):
            self._appends.refuse_key(key, reason)
        else:
            self._appends.not_found(key)

    def key_unreadable(self, key: str, error: CorruptLogError) -> None:
        """Damage hides whether the log holds something under this key, so nothing is appended with it."""
        self._appends.unreadable(key, error)

    def wait(self, waiter: Waiter, offset: int, w: int) -> None:
        """Wait until ``w`` nodes hold the record at ``offset``; Reached follows. Raises OverloadedError."""
        if self.waiting >= MAX_WAITING:
            raise OverloadedError(f"{self.waiting} wait")
        self._waiters.add((waiter,), offset, w)
        self._answer()

    def forget(self, waiter: Waiter) -> None:
        """The waiter's client is gone. What it appended stays, and is replicated all the same."""
        self._appends.forget(waiter)
        self._waiters.forget(waiter)

    def committed(self) -> None:
        """The batches of the last Commit are on disk."""
        assert self._commit is not None
        batches, self._commit = self._commit.batches, None
        self.progress.committed([batch.end for batch in batches])
        self._appends.committed(self.id.epoch)
        if self._reply_to is None:
            self._skip_publishing()
        else:
            self._unpublished.add(batches)
            if self._unpublished.is_too_much:
                self._skip_publishing()
        self._answer()

    def commit_refused(self) -> None:
        """Nothing of the last Commit is on disk: there was no room."""
        self._commit = None
        self._appends.commit_refused()

    def connected(self, reply_to: str) -> None:
        """The broker can be published to; acks and fetches come in by the queue ``reply_to``."""
        self._reply_to = reply_to
        # An ack may have come while the last connection was closing, and the read that it needs went with that one.
        self.progress.connection_lost()
        self._next_beat = 0.0
        self._unpublished.begin_anew(self.progress.end.offset)

    def connection_lost(self) -> None:
        self._reply_to = None
        self.progress.connection_lost()
        self._skip_publishing()

    def confirmed(self) -> None:
        """The broker has taken, or refused, one delivery of batches that was published on the present connection.

        Secondaries fetch the batches of a refused one.
        """
        self._unpublished.confirmed()

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
        """The answer to a fetch, of the batches read from the log.

        A commit can be read from the disk before :meth:`committed` is called. Sent then, it could be acked before that,
        by a node that would seem to hold more than this master; so what belongs to it is left out.
        """
        end = self.progress.end.offset
        known = tuple(batch for batch in batches if batch.end_offset <= end)
        return Fetched(self.id, fetch.request_id, self.published_end, known)

    def tick(self, now: float) -> None:
        """Time passes. To be called at least every ``timings.beat_s``, and at once after :meth:`connected`."""
        self._limit_hearing(now)
        if self._reply_to is not None and now >= self._next_beat:
            self._next_beat = now + self.timings.beat_s
            self._plan_publish()
            self.progress.beats += 1
            beat = Beat(self.id, self.progress.beats, self.published_end, self.progress.committed_end, self._reply_to)
            self._first.append(Publish(beat, self.timings.beat_expires_s))

    def _limit_hearing(self, now: float) -> None:
        if self._reply_to is not None and not self._asked:
            self._asked = True
            self._hear_until = now + self.timings.hearing_s
        elif self._hear_until is None:
            self._hear_until = now + self.timings.hearing_unconnected_s
        elif now >= self._hear_until and not self.progress.verifying:
            self._hearing = False

    def _plan_commit(self) -> None:
        if self.progress.conflict is not None:
            self._appends.refuse_line(self.progress.conflict)
        if self._hearing:
            self._hearing = not self.progress.all_heard
        if self._commit is not None or self._hearing or not self._appends.in_line:
            return
        batches: list[Batch] = []
        previous = self.progress.end
        while len(batches) < MAX_COMMIT_BATCHES and (taken := self._appends.take(previous.offset)):
            batches.append(self._encode(taken, previous))
            previous = batches[-1].end
        if batches:
            self._commit = Commit(tuple(batches))
            self._first.append(self._commit)

    def _encode(self, appends: Sequence[Append[Waiter]], previous: Position) -> Batch:
        messages: list[bytes] = []
        keyed_appends: list[KeyedAppend] = []
        for append in appends:
            if append.key is not None:
                offset = previous.offset + len(messages)
                keyed_appends.append(
                    KeyedAppend(append.key, append.digest, offset, len(append.messages), self.id.epoch)
                )
            messages.extend(append.messages)
        return encode_batch(
            messages,
            log_id=self.id.log_id,
            epoch=self.id.epoch,
            time_ms=appends[0].time_ms,
            previous=previous,
            keyed_appends=keyed_appends,
        )

    def _plan_publish(self) -> None:
        while self._reply_to is not None and (batches := self._unpublished.take()):
            self._first.append(Publish(LiveBatches(self.id, batches, self._reply_to)))

    def _skip_publishing(self) -> None:
        self._unpublished.skip_to(self.progress.end.offset)

    def _answer(self) -> None:
        self._decisions.extend(map(Reached, self._waiters.pop_reached(self.progress.held_by)))
