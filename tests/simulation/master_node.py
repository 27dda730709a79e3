"""A virtual master: the real Reign, driven as master/replicator.py drives it."""

from typing import Final, NamedTuple

from replicated_log.master.decisions import (
    AnswerFetch,
    Appended,
    Commit,
    EndMismatch,
    FindKey,
    KeyReused,
    NotAppended,
    Outcome,
    Publish,
    Reached,
    ReadChain,
    Replayed,
)
from replicated_log.master.reign import OverloadedError, ReadOnlyError, Reign
from replicated_log.secondary.decisions import Persist
from replicated_log.timings import DEFAULT
from replicated_log.wire.batch import Batch
from replicated_log.wire.delivery import (
    Ack,
    Beat,
    Envelope,
    Fetch,
    LiveBatches,
    MalformedDeliveryError,
    ReignId,
    decode,
    encode,
)
from replicated_log.wire.errors import DiskFullError
from tests.simulation.broker import Session
from tests.simulation.history import Answered, Broken, Heard, Held, Read, Refused, TimedOut
from tests.simulation.host import Driver, Host
from tests.simulation.plan import Append

QUESTION_S: Final = 5.0


class _Place(NamedTuple):
    """What a client is told of where its messages are, and whether they were there before."""

    offset: int
    epoch: int
    replayed: bool


def key_of(append: Append) -> str | None:
    return f"key {append.key}" if append.key else None


class Master(Driver):
    """Clients' appends are known by the number of the operation, their questions by that number made negative."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        epoch = self.log.begin_reign()
        assert self.log.log_id is not None
        reign = ReignId(self.log.log_id, epoch, self.world.fresh_id())
        names = [node.name for node in self.world.plan.secondaries]
        quorum = self.world.plan.require_quorum
        self.reign: Reign[int] = Reign(reign, names, self.log.end, require_quorum=quorum)
        self._open: dict[int, _Place | None] = {}
        self._questions: dict[int, tuple[int, int]] = {}
        self._unconfirmed: dict[int, float] = {}
        self._published = 0
        self._heard: set[str] = set()
        self._tick()

    def append(self, operation: Append, messages: tuple[str, ...], if_end: int | None) -> None:
        number = operation.number
        encoded = [message.encode() for message in messages]
        time_ms = 1_700_000_000_000 + int(self.world.now * 1000)
        try:
            self.reign.append(
                number,
                encoded,
                w=operation.w,
                time_ms=time_ms,
                now=self.clock,
                key=key_of(operation),
                if_end=if_end,
            )
        except ReadOnlyError:
            self._say(Refused(self.world.now, number, "read-only" if self.reign.progress.conflict else "no quorum"))
            return
        except OverloadedError:
            self._say(Refused(self.world.now, number, "overloaded"))
            return
        self._open[number] = None
        self.after(operation.timeout, self._time_out, number)
        self._perform()

    def ask(self, number: int, last: int, w: int) -> None:
        """Wait until ``w`` nodes hold the records of an earlier append, up to ``last``."""
        waiter = -1 - len(self._questions)
        try:
            self.reign.wait(waiter, last, w)
        except OverloadedError:
            return
        self._questions[waiter] = (number, w)
        self.after(QUESTION_S, self.reign.forget, waiter)
        self._perform()

    def _time_out(self, number: int) -> None:
        if number in self._open:
            self.reign.forget(number)
            self._say(TimedOut(self.world.now, number, *(self._open.pop(number) or (None,))))

    def _say(self, event: Answered | TimedOut | Refused | Held | Broken) -> None:
        self.world.tell_client(event)

    def _perform(self) -> None:
        for decision in self.reign.decisions():
            match decision:
                case Publish(delivery, expires_s):
                    self._publish(delivery, expires_s)
                case Commit(batches):
                    self._writing = Persist(None, 0, batches)
                    self.after(self._disk_time(), self._commit, batches)
                case FindKey(key):
                    self.after(self._disk_time(), self._find_key, key)
                case ReadChain(offset):
                    self.after(self._disk_time(), self._read_chain, offset)
                case AnswerFetch(fetch):
                    self.after(self._disk_time(), self._answer_fetch, fetch)
                case _:
                    self._tell(decision)

    def _tell(self, outcome: Outcome[int] | Reached[int]) -> None:
        match outcome:
            case Appended(waiter, offset):
                self._open[waiter] = _Place(offset, self.reign.id.epoch, False)
            case Replayed(waiter, offset, epoch):
                self._open[waiter] = _Place(offset, epoch, True)
            case Reached(waiters):
                for waiter in waiters:
                    self._reached(waiter)
            case NotAppended(waiter, None):
                self._refuse(waiter, "disk full")
            case NotAppended(waiter, _):
                self._refuse(waiter, "read-only" if self.reign.progress.conflict else "no quorum")
            case EndMismatch(waiter, end_offset):
                self._refuse(waiter, "end mismatch", end_offset)
            case KeyReused(waiter):
                self._refuse(waiter, "key reused")

    def _refuse(self, number: int, why: str, end: int | None = None) -> None:
        if self._open.pop(number, 0) is None:
            self._say(Refused(self.world.now, number, why, end))

    def _publish(self, delivery: LiveBatches | Beat, expires_s: float | None) -> None:
        if self.session is None:
            return
        if isinstance(delivery, LiveBatches):
            self._published += 1
            self._unconfirmed[self._published] = self.world.now
            self.session.publish(encode(delivery), confirm=self._published)
        else:
            self.session.publish(encode(delivery, expires_s), confirm=None)

    def _reached(self, waiter: int) -> None:
        if waiter < 0:
            number, w = self._questions[waiter]
            self._say(Held(self.world.now, number, w))
        elif (place := self._open.pop(waiter, None)) is not None:
            self._say(Answered(self.world.now, waiter, *place))

    def _commit(self, batches: tuple[Batch, ...]) -> None:
        self._writing = None
        try:
            self.log.append(batches)
        except DiskFullError:
            self.reign.commit_refused()
        else:
            self.reign.committed()
        self._perform()

    def _find_key(self, key: str) -> None:
        self.reign.key_found(key, self.log.find_key(key), self.clock)
        self._perform()

    def _read_chain(self, offset: int) -> None:
        self.reign.chain_read(offset, self.log.chain_at(offset), self.clock)
        self._perform()

    def _answer_fetch(self, fetch: Fetch) -> None:
        batches = self.log.read(fetch.from_offset, self.world.bound("master.publish_window.MAX_DELIVERY_BYTES"))
        if self.session is not None:
            self.session.send(fetch.reply_to, encode(self.reign.fetched(fetch, batches)))

    def _tick(self) -> None:
        if self._unconfirmed and self.world.now - min(self._unconfirmed.values()) > DEFAULT.publish_s:
            self.give_up_session()
        self._beat()
        self.after(DEFAULT.beat_s, self._tick)

    def _beat(self) -> None:
        self.reign.tick(self.clock)
        self._perform()

    def _connected(self, session: Session) -> None:
        self._unconfirmed.clear()
        reply_to = f"replog.main.acks.{self.reign.id.epoch}.{session.number}"
        self.world.broker.declare_exclusive(reply_to, session)
        self.reign.connected(reply_to)
        self._beat()

    def _disconnected(self) -> None:
        self._unconfirmed.clear()
        self.reign.connection_lost()
        self._perform()

    def receive(self, session: Session, _: int, envelope: Envelope) -> None:
        if session is not self.session:
            return
        try:
            delivery = decode(envelope)
        except MalformedDeliveryError:
            return
        assert isinstance(delivery, Ack | Fetch)
        if self.reign.require_quorum and delivery.node not in self._heard:
            self._heard.add(delivery.node)
            self.world.record(Heard(self.world.now, delivery.node))
        if isinstance(delivery, Ack):
            self.world.seen(delivery.disk_id)
        self.reign.receive(delivery, self.clock)
        self._perform()

    def confirmed(self, session: Session, number: int) -> None:
        if session is self.session and self._unconfirmed.pop(number, None) is not None:
            self.reign.confirmed()
            self._perform()

    def end(self, *, power_cut: bool) -> None:
        super().end(power_cut=power_cut)
        for number in self._open:
            self._say(Broken(self.world.now, number))

    def read(self) -> Read:
        disk = self.host.disk
        return Read(self.world.now, disk.label, tuple(disk.records), self.reign.progress.committed_end)
