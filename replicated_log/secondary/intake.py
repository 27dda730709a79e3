"""The secondary's half of the protocol: what becomes of the deliveries that reach a secondary.

The object is driven: events go in by method calls, decisions come out of :meth:`Intake.decisions`, and nothing here
reads a clock or does I/O. These are the rules; a secondary in another language that follows them can take part.

1.  A secondary follows one reign: that of the newest beat of its log, by epoch. (Beats expire within seconds, so only
    a living master is followed; batches may have lain in a queue for days.) Deliveries of an epoch lower than any it
    has followed or stored, of another log, or of another reign of the same epoch are dropped. Every beat is answered
    with an ack, also that of another master, so that each master learns what this node holds and whom it follows.
2.  A batch of the followed reign is accepted when it follows, by offset and chain, what was accepted before it. A batch
    that is held already is acked again. One that comes too early, or before the first beat of its reign, is kept for
    later: the first ones up to MAX_EARLY_BYTES, later ones are dropped.
3.  Accepted batches are persisted in order, several in one commit, at most one commit at a time.
4.  A sound batch of the followed reign that does not follow by its chain, or overlaps what is held, shows that this
    log is another: the node is diverged. It accepts nothing more, and says so in its acks, until it follows another
    reign, which is judged anew.
5.  A secondary that has accepted less than the master has published fetches from its own accepted end: one fetch at a
    time, with a fresh request id and a timeout, and again until it has caught up.
6.  A log is adopted only from the answer to one's own fetch, durably, no later than its first record. A log without a
    record binds to nothing: another may be adopted in its place.
7.  ``acked`` trails the log on disk by the simulated latency, in order; when the process starts both are the same.
    Nothing ever announces more than ``acked``.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from replicated_log.secondary.decisions import Decision, Notice, Persist, Send
from replicated_log.secondary.delay_line import DelayLine
from replicated_log.secondary.outstanding_fetch import OutstandingFetch
from replicated_log.secondary.persist_queue import PersistQueue
from replicated_log.secondary.reorder_buffer import MAX_EARLY_BYTES, ReorderBuffer
from replicated_log.timings import DEFAULT, Timings
from replicated_log.wire.batch import START, Batch, Position
from replicated_log.wire.delivery import DIVERGED, FOLLOWING, JOINING, Ack, Beat, Fetch, Fetched, LiveBatches, ReignId

MAX_DELAYED_ACKS: Final = 1 << 16
_MAX_NOTICES: Final = 1000


@dataclass(frozen=True, slots=True)
class Latency:
    """What is simulated, in seconds: a delay between the disk and the ack, and one before the disk."""

    ack_delay_s: float = 0.0
    persist_delay_s: float = 0.0


class Intake:
    """Invariant: acked <= on_disk <= accepted, by offset, and all three lie on one chain."""

    def __init__(
        self,
        *,
        node: str,
        disk_id: str,
        log_id: str | None,
        epoch: int,
        end: Position,
        latency: Latency,
        fresh_id: Callable[[], str],
        timings: Timings = DEFAULT,
    ) -> None:
        """Begin with the log on disk up to ``end``, which holds batches of epochs up to ``epoch``.

        ``fresh_id`` makes request ids, none of them twice.
        """
        self.node = node
        self.disk_id = disk_id
        self.log_id = log_id
        self.epoch = self._stored_epoch = epoch
        self.latency = latency
        self.acked = self.on_disk = self.accepted = end
        self.reign: ReignId | None = None
        self.diverged = False
        self.disk_full = False
        self.master_end = 0
        self.committed_end = 0
        self.counts: Counter[str] = Counter()
        self._fresh_id = fresh_id
        self._timings = timings
        self._decisions: deque[Decision] = deque()
        self._noticed: set[str] = set()
        self._acks_to: str | None = None
        self._answers_to: str | None = None
        self._adopt: str | None = None
        self._pending = PersistQueue()
        self._persisting: Persist | None = None
        self._retry_at: float | None = None
        self._early = ReorderBuffer(MAX_EARLY_BYTES)
        self._delayed_acks: DelayLine[tuple[Position, str]] = DelayLine()
        self._covers: str | None = None
        self._beat = 0
        self._fetch = OutstandingFetch(timings)

    @property
    def state(self) -> str:
        if self.diverged:
            return DIVERGED
        return JOINING if self.log_id is None else FOLLOWING

    def decisions(self, now: float) -> list[Decision]:
        """What is to be done now, in this order. Each decision is given out once.

        ``now`` is monotonic time in seconds, as everywhere here.
        """
        self._release_acks(now)
        self._plan_fetch(now)
        self._plan_persist(now)
        taken = list(self._decisions)
        self._decisions.clear()
        return taken

    def next_wakeup(self) -> float | None:
        """When to ask for :meth:`decisions` even if nothing happens until then; None for never."""
        times = [
            self._delayed_acks.next_due,
            None if self._persisting else self._pending.next_due,
            self._fetch.deadline,
            self._retry_at,
        ]
        return min((time for time in times if time is not None), default=None)

    def needs(self, offset: int) -> bool:
        """True while a delivery that was accepted up to ``offset`` must not be settled, since only memory holds it.

        What waits for the simulated delay is settled all the same, or the broker would stop delivering; if it is lost
        with the process, it is fetched again.
        """
        return self.latency.persist_delay_s == 0 and self.on_disk.offset < offset <= self.accepted.offset

    def simulate(self, latency: Latency, now: float) -> None:
        """Simulate this from now on. Batches and acks that wait keep their order, and wait no longer than new ones."""
        self.latency = latency
        self._delayed_acks.let_leave_by(now + latency.ack_delay_s)
        self._pending.let_leave_by(now + latency.persist_delay_s)

    def connected(self, answers_to: str) -> None:
        """Deliveries can come and go; answers to fetches come in by the queue ``answers_to``."""
        self._answers_to = answers_to
        self._fetch.begin_anew()

    def connection_lost(self) -> None:
        self._answers_to = self._acks_to = None
        self._fetch.forget()

    def receive(self, delivery: LiveBatches | Beat | Fetched, now: float) -> None:
        match delivery:
            case Beat():
                self._take_beat(delivery)
            case LiveBatches():
                self._take_live(delivery, now)
            case Fetched():
                self._take_fetched(delivery, now)

    def persisted(self, now: float) -> None:
        """The last Persist is on disk."""
        assert self._persisting is not None
        batches, self._stored_epoch = self._persisting.batches, self._persisting.epoch
        self._persisting = None
        if self.disk_full:
            self.disk_full = False
            self._decisions.append(Notice("there is room on the disk again"))
        if not batches:
            return
        self.on_disk = batches[-1].end
        if len(self._delayed_acks) >= MAX_DELAYED_ACKS:
            self._delayed_acks.drop_last()
        self._delayed_acks.put((self.on_disk, batches[-1].name), now + self.latency.ack_delay_s)

    def persist_refused(self, now: float) -> None:
        """Nothing of the last Persist is on disk, for want of room: forget what was accepted, fetch it again later."""
        assert self._persisting is not None
        if self._persisting.adopt is not None or self._adopt is not None:
            self.log_id = None
        self._persisting = self._adopt = None
        self._pending.clear()
        self._early.clear()
        self._fetch.forget()
        self.accepted = self.on_disk
        self.diverged = False  # If what is on disk diverges too, that will show again.
        self._retry_at = now + self._timings.disk_full_retry_s
        if not self.disk_full:
            self.disk_full = True
            self._decisions.append(Notice("the disk is full: nothing is persisted or acked until there is room"))

    def _take_beat(self, beat: Beat) -> None:
        if self._is_newest(beat.reign):
            if beat.reign != self.reign:
                self._follow(beat.reign)
            self._send_acks_to(beat.reply_to)
            self._beat = max(self._beat, beat.number)
            self.master_end = max(self.master_end, beat.end_offset)
            self.committed_end = max(self.committed_end, beat.committed_end)
        self._send_ack(beat.reply_to)

    def _is_newest(self, reign: ReignId) -> bool:
        """True when this is the followed reign, or one to be followed from now on."""
        if self.log_id is not None and reign.log_id != self.log_id and self.accepted != START:
            self.counts["foreign"] += 1
            self._notice(f"a master of another log is publishing here: {reign}")
            return False
        if reign == self.reign:
            return True
        if reign.log_id != (self.reign.log_id if self.reign else self.log_id):
            # Only a node without a record gets here. It may follow another log until it has one.
            return True
        if reign.epoch > self.epoch or (reign.epoch == self.epoch and (self.reign is None or self.accepted == START)):
            return True
        self.counts["stale"] += 1
        if self.reign is not None and reign.epoch == self.reign.epoch:
            self._notice(f"two masters on one log: {reign} publishes beside {self.reign}, and is not followed")
        return False

    def _follow(self, reign: ReignId) -> None:
        if reign.log_id != self.log_id:
            self.log_id = self._adopt = None
        self.reign = reign
        self.epoch = reign.epoch
        self.diverged = False
        self.master_end = self.committed_end = self._beat = 0
        self._fetch.forget()
        self._early.drop_others(reign)
        self._notice(f"following the master of epoch {reign.epoch}, reign {reign.reign_id}")

    def _send_acks_to(self, acks_to: str) -> None:
        if acks_to != self._acks_to:
            self._fetch.forget()  # Its request went to a queue that is gone.
        self._acks_to = acks_to

    def _take_live(self, live: LiveBatches, now: float) -> None:
        if self.reign == live.reign and self.log_id is not None:
            self._send_acks_to(live.reply_to)
            self.master_end = max(self.master_end, live.batches[-1].end.offset)
            self._take(live.batches, now)
        elif self._is_newest(live.reign):
            for batch in live.batches:
                self._keep_early(live.reign, batch)

    def _take_fetched(self, fetched: Fetched, now: float) -> None:
        if fetched.reign != self.reign or not self._fetch.answered(fetched.request_id, now):
            self.counts["unasked"] += 1
            return
        if self.log_id is None:
            self.log_id = self._adopt = fetched.reign.log_id
        self.master_end = max(self.master_end, fetched.end_offset)
        before = self.accepted
        self._take(fetched.batches, now)
        useless = not fetched.batches or fetched.batches[-1].end.offset > self.accepted.offset
        if self.accepted == before and useless:
            # The master did not give what it said it had. Asking again at once would go on for ever: wait for a beat.
            self.master_end = self.accepted.offset

    def _take(self, batches: Iterable[Batch], now: float) -> None:
        """Take batches of the followed reign, in any order."""
        assert self.reign is not None
        repeat_ack = False
        for batch in batches:
            if batch.end.offset <= self.accepted.offset:
                self.counts["duplicates"] += 1
                repeat_ack = True
            elif batch.first_offset > self.accepted.offset:
                self.counts["gaps"] += 1
                self._keep_early(self.reign, batch)
            else:
                self._accept(self.reign, batch, now)
        while (early := self._early.take(self.reign, self.accepted.offset)) is not None:
            self._accept(self.reign, early, now)
        self._early.drop_below(self.accepted.offset)
        if repeat_ack and self._acks_to is not None:
            self._send_ack(self._acks_to)

    def _accept(self, reign: ReignId, batch: Batch, now: float) -> None:
        """Take a batch that ``reign`` sent and that does not begin beyond what is accepted."""
        if self.diverged or self._pending.is_full or self._retry_at is not None:
            self.counts["dropped"] += 1
        elif batch.log_id != reign.log_id or batch.epoch > reign.epoch:
            self.counts["poison"] += 1
            self._notice(f"dropped batch {batch.name}: it is of log {batch.log_id}, epoch {batch.epoch}")
        elif batch.follows(self.accepted):
            self.accepted = batch.end
            self._pending.put(batch, now + self.latency.persist_delay_s)
        else:
            self.diverged = True
            self._notice(
                f"diverged: the master's batch {batch.name} does not follow this log at {self.accepted.offset}; "
                "this node keeps what it has, takes nothing more and is not counted"
            )

    def _keep_early(self, reign: ReignId, batch: Batch) -> None:
        if not self._early.keep(reign, batch):
            self.counts["dropped"] += 1

    def _plan_fetch(self, now: float) -> None:
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
        if self._fetch.given_up(now):
            self.counts["fetch timeouts"] += 1
        if self.reign is None or self._acks_to is None or self._answers_to is None or self.diverged:
            return
        behind = self.accepted.offset < self.master_end or self.log_id is None
        if not behind or self._fetch or self._retry_at is not None or self._pending.is_full:
            return
        request_id = self._fresh_id()
        self._fetch.ask(request_id, now)
        self.counts["fetches"] += 1
        fetch = Fetch(self.node, self.log_id, self.accepted.offset, request_id, self._answers_to)
        self._decisions.append(Send(self._acks_to, fetch))

    def _plan_persist(self, now: float) -> None:
        if self._persisting is not None or self._retry_at is not None:
            return
        batches = self._pending.take(now)
        # The epoch on disk is that of the log on disk: an epoch of a log that is not adopted yet says nothing there.
        has_news = self.log_id is not None and self.epoch > self._stored_epoch
        if batches or self._adopt is not None or has_news:
            self._persisting = Persist(self._adopt, self.epoch, batches)
            self._adopt = None
            self._decisions.append(self._persisting)

    def _release_acks(self, now: float) -> None:
        acked = self.acked
        while (due := self._delayed_acks.take(now)) is not None:
            self.acked, self._covers = due
        if self.acked != acked and self._acks_to is not None:
            self._send_ack(self._acks_to)

    def _send_ack(self, to: str) -> None:
        ack = Ack(
            node=self.node,
            disk_id=self.disk_id,
            log_id=self.log_id,
            epoch=self.epoch,
            reign=self.reign,
            beat=self._beat,
            acked=self.acked,
            state=self.state,
            covers=self._covers,
        )
        self._decisions.append(Send(to, ack))

    def _notice(self, text: str) -> None:
        if text not in self._noticed:
            if len(self._noticed) >= _MAX_NOTICES:
                self._noticed.clear()
            self._noticed.add(text)
            self._decisions.append(Notice(text))
