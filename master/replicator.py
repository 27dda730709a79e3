"""Drives the master's half of the protocol: its log, the broker, and those who wait for copies."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from infra.callbacks import Callbacks
from infra.log_thread import SLICE_KEYS, LogThread
from infra.mark import Mark
from infra.names import Names
from infra.rabbitmq.inbound import Received
from infra.rabbitmq.keeping import keep_session
from infra.rabbitmq.session import Session
from master.copies import (
    Copies,
    EndMismatchError,
    Holders,
    KeyReusedError,
    NoSuchRecordError,
    NotCommittedError,
    NotReachedError,
    Ticket,
)
from master.deadlines import Deadlines
from master.gathering import Gathering
from master.metrics import MasterMetrics
from replicated_log.batch import Batch
from replicated_log.decisions import (
    AnswerFetch,
    Appended,
    Commit,
    EndMismatch,
    FindKey,
    KeyReused,
    KeyUnreadable,
    NotAppended,
    Outcome,
    Publish,
    Reached,
    ReadChain,
    Replayed,
)
from replicated_log.delivery import (
    BEAT_INTERVAL_S,
    MAX_DELIVERY_BYTES,
    Ack,
    Beat,
    Fetch,
    LiveBatches,
    MalformedDeliveryError,
    decode,
    encode,
)
from replicated_log.log import DiskFullError
from replicated_log.log_reader import CorruptLogError
from replicated_log.reign import ReadOnlyError, Reign

MAX_READS: Final = 1000

logger = logging.getLogger(__name__)


class Replicator:
    """Carries out the reign's decisions: every event is followed by :meth:`_perform`, so none waits.

    Only appends are gathered before, so that they share a commit.
    """

    def __init__(self, reign: Reign[Ticket], log: LogThread, *, name: str, names: Names, amqp_url: str) -> None:
        self.reign = reign
        self.committed = Mark(lambda: reign.progress.committed_end)
        self.poison = 0
        self.disk_full_at: float | None = None
        """When the disk last refused a commit, on the monotonic clock; None since one went well."""
        self.metrics = MasterMetrics(reign.progress)
        self._log = log
        self._name = name
        self._names = names
        self._amqp_url = amqp_url
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        self._callbacks = Callbacks()
        self._gathering = Gathering(self._callbacks.watched(self._perform))
        self._on_received = self._callbacks.watched(self._receive)
        self._on_published = self._callbacks.watched(self._published)
        self._on_committed = self._callbacks.watched(self._committed)
        self._on_not_committed = self._callbacks.watched(self._not_committed)
        self._waiting: Deadlines[Ticket] = Deadlines(self._give_up)
        self._connections = 0
        self._reply_to = ""
        self._begins_at = log.log.end.offset
        self._lookups: asyncio.Queue[str] = asyncio.Queue()
        # The reads belong to one session. The reign bounds the chains it wants read; whoever wants to fetch asks again,
        # so a full queue may lose that.
        self._session: Session | None = None
        self._reads: asyncio.Queue[ReadChain | AnswerFetch] = asyncio.Queue()

    @property
    def connected(self) -> bool:
        """Whether there is a session with the broker."""
        return self._session is not None

    @property
    def disk_full(self) -> bool:
        """Whether the last commit found no room."""
        return self.disk_full_at is not None

    @property
    def stopping(self) -> bool:
        return self._stopping

    async def run(self) -> None:
        """Commit, publish and count, for ever. Raises what the log raises: after that nothing may go on."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._callbacks.failed())
                tasks.create_task(self._log.work_off_journal())
                tasks.create_task(self._find_keys())
                tasks.create_task(self._tick())
                tasks.create_task(keep_session(self._amqp_url, self._name, self._set_up, self._work))
        finally:
            # Whoever still waits would wait in vain: let them be told what is known of their messages.
            self.wind_up(0)

    async def append(
        self, messages: list[bytes], *, w: int, timeout_s: float, key: str | None = None, if_end: int | None = None
    ) -> Copies:
        """Append atomically, and wait until ``w`` nodes hold the messages on disk.

        As :meth:`begin`, and raises what that raises and tells. Cancelling the wait never cancels the append.
        """
        told: asyncio.Future[Copies] = self._loop.create_future()
        ticket = self.begin(messages, partial(_settle, told), w=w, timeout_s=timeout_s, key=key, if_end=if_end)
        return await self._told(ticket, told)

    def begin(
        self,
        messages: list[bytes],
        tell: Callable[[Copies | Exception], None],
        *,
        w: int,
        timeout_s: float,
        key: str | None = None,
        if_end: int | None = None,
    ) -> Ticket:
        """Append atomically, and ``tell`` when ``w`` nodes hold the messages on disk, or why that is not waited for.

        The list is emptied, so that they take no memory once they are on the master's, however long the wait.
        Where an append with the same ``key`` (1 to 255 printable ASCII characters) and the same messages is in the log
        already, or on its way there, it counts for this one. ``if_end``: only if the log ends there.
        The messages, with the key, must fit into one batch: see :func:`replicated_log.batch.append_size`.
        Whoever does not want to be told any more calls :meth:`forget`.

        Raises ReadOnlyError or OverloadedError: nothing is appended. Tells, later and once, Copies or an error:
        ReadOnlyError, DiskFullError, KeyReusedError or EndMismatchError: nothing is appended; NotReachedError, after
        ``timeout_s``: appended; NotCommittedError: nobody knows yet; CorruptLogError: nobody can know, as the log is
        damaged where it says what was appended with the key.
        """
        if self._stopping:
            raise ReadOnlyError("this master is about to stop")
        ticket = Ticket(len(messages), w, self.reign.progress.end.offset, tell, time.monotonic())
        taken, time_ms = tuple(messages), time.time_ns() // 1_000_000
        messages.clear()
        self.reign.append(ticket, taken, w=w, time_ms=time_ms, now=ticket.started, key=key, if_end=if_end)
        self._waiting.add(ticket, timeout_s)
        self._gathering.one_more()
        return ticket

    async def wait(self, offset: int, *, w: int, timeout_s: float) -> Copies:
        """Wait until ``w`` nodes hold the record at ``offset``, whoever appended it, and whenever.

        Raises NoSuchRecordError, NotReachedError, OverloadedError or CorruptLogError.
        """
        told: asyncio.Future[Copies] = self._loop.create_future()
        ticket = Ticket(1, w, self.reign.progress.end.offset, partial(_settle, told), time.monotonic())
        if offset >= ticket.log_end:
            raise NoSuchRecordError(ticket.log_end)
        ticket.place(offset, await self._epoch_at(offset), ticket.started)
        self.reign.wait(ticket, offset, w)
        self._waiting.add(ticket, 0 if self._stopping else timeout_s)
        self._perform()
        return await self._told(ticket, told)

    def forget(self, ticket: Ticket) -> bool:
        """Nobody waits for this ticket any more; whether somebody did.

        What was appended stays, and is replicated all the same.
        """
        waited = self._waiting.discard(ticket)
        if waited:
            self.reign.forget(ticket)
        return waited

    async def _told(self, ticket: Ticket, told: asyncio.Future[Copies]) -> Copies:
        try:
            return await told
        finally:
            self.forget(ticket)

    def _give_up(self, ticket: Ticket) -> None:
        """The time is over: tell what is known."""
        self.reign.forget(ticket)
        if ticket.offset is None:
            _tell(ticket, NotCommittedError("it is not known yet whether the message is on the master's disk"))
        else:
            _tell(ticket, NotReachedError(_copies(ticket, self._holders(ticket), time.monotonic())))

    async def _epoch_at(self, offset: int) -> int:
        if offset >= self._begins_at:
            return self.reign.id.epoch
        (batch, *_) = await self._log.batches(offset, 1)
        return batch.epoch

    def wind_up(self, grace_s: float) -> None:
        """The process is about to stop: take no more appends, and let nobody wait longer than ``grace_s``."""
        self._stopping = True
        self._waiting.shorten(grace_s)

    def _perform(self) -> None:
        now = time.monotonic()
        for decision in self.reign.decisions():
            match decision:
                case Appended(ticket, offset):
                    ticket.place(offset, self.reign.id.epoch, now)
                    self.metrics.appended(ticket.started)
                case Reached(tickets):
                    # What is of one batch has the same holders.
                    holders = self._holders(tickets[0])
                    for ticket in tickets:
                        self._tell(ticket, _copies(ticket, holders, now))
                case Commit(batches):
                    self._log.append(batches, partial(self._on_committed, batches), self._on_not_committed)
                case Publish(delivery):
                    self._publish(delivery)
                case FindKey(key):
                    self._lookups.put_nowait(key)
                case ReadChain():
                    self._reads.put_nowait(decision)
                case AnswerFetch():
                    if self._reads.qsize() < MAX_READS:
                        self._reads.put_nowait(decision)
                case _:
                    self._conclude(decision, now)
        self.committed.moved()

    def _conclude(self, outcome: Outcome[Ticket], now: float) -> None:
        """What becomes of an append otherwise."""
        match outcome:
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

    def _tell(self, ticket: Ticket, outcome: Copies | Exception) -> None:
        if self._waiting.discard(ticket):
            _tell(ticket, outcome)

    def _committed(self, batches: Sequence[Batch], took_s: float) -> None:
        self._show_disk_full(False, "there is room on the disk again")
        self.reign.committed()
        self._perform()
        self.metrics.committed(batches, took_s, time.monotonic())

    def _not_committed(self, error: BaseException) -> None:
        if not isinstance(error, DiskFullError):
            raise error
        self._show_disk_full(True, f"{error}: nothing is appended until there is")
        self.reign.commit_refused()
        self._perform()

    async def _find_keys(self) -> None:
        """Look up in the log what was asked for meanwhile, many at once."""
        while True:
            keys = [await self._lookups.get()]
            while len(keys) < SLICE_KEYS and not self._lookups.empty():
                keys.append(self._lookups.get_nowait())
            found = await self._log.find_keys(keys)
            now = time.monotonic()
            for key, keyed in zip(keys, found, strict=True):
                if isinstance(keyed, CorruptLogError):
                    self.reign.key_unreadable(key, keyed)
                else:
                    self.reign.key_found(key, keyed, now)
            self._perform()

    def _show_disk_full(self, disk_full: bool, notice: str) -> None:
        if disk_full != self.disk_full:
            logger.warning("%s", notice)
        self.disk_full_at = time.monotonic() if disk_full else None

    async def _set_up(self, session: Session) -> None:
        # A fresh name each time: the broker may keep the last connection's exclusive queue locked for a while.
        self._connections += 1
        self._reply_to = self._names.acks_queue(self.reign.id.epoch, self._connections)
        await session.declare_exchange(self._names.exchange, replace=True)
        await session.declare_reply_queue(self._reply_to)
        await session.consume(self._reply_to, self._on_received, settled=True)

    async def _work(self, session: Session) -> None:
        self._session, self._reads = session, asyncio.Queue()
        try:
            self.reign.connected(self._reply_to)
            self.reign.tick(time.monotonic())
            self._perform()
            await self._read(session)
        finally:
            self._session = None
            self.reign.connection_lost()

    async def _tick(self) -> None:
        while True:
            self.reign.tick(time.monotonic())
            self._perform()
            await asyncio.sleep(BEAT_INTERVAL_S)

    def _publish(self, delivery: LiveBatches | Beat) -> None:
        assert self._session is not None
        self._session.publish(self._names.exchange, encode(delivery), partial(self._on_published, delivery))

    def _published(self, delivery: LiveBatches | Beat, taken: bool) -> None:
        self.metrics.published(delivery, taken=taken)
        if isinstance(delivery, LiveBatches):
            self.reign.confirmed()
            self._perform()

    async def _read(self, session: Session) -> None:
        """Read from the log what the protocol asks for, one thing after the other."""
        while True:
            match await self._reads.get():
                case ReadChain(offset):
                    chain = await self._log.chain_at(offset)
                    self.reign.chain_read(offset, chain, time.monotonic())
                    self._perform()
                case AnswerFetch(fetch):
                    try:
                        batches = await self._log.read(fetch.from_offset, MAX_DELIVERY_BYTES)
                    except CorruptLogError as error:
                        # Whoever needs this can't be helped; everyone else's appends go on.
                        logger.error("%s can't be given what it lacks: %s", fetch.node, error)
                        continue
                    await session.send(fetch.reply_to, encode(self.reign.fetched(fetch, batches)))

    def _receive(self, received: Received) -> None:
        try:
            delivery = decode(received.envelope)
            if not isinstance(delivery, Ack | Fetch):
                raise MalformedDeliveryError(f"a {received.envelope.kind} is nothing for a master")
        except MalformedDeliveryError as error:
            self.poison += 1
            logger.warning("dropped a delivery: %s", error)
            return
        now = time.monotonic()
        self.reign.receive(delivery, now)
        self._perform()
        self.metrics.received(delivery, now)

    def _holders(self, ticket: Ticket) -> Holders:
        assert ticket.offset is not None
        last = ticket.offset + ticket.count - 1
        nodes = self.reign.progress.secondaries.values()
        since = [(node.name, node.acked_at(last)) for node in nodes if node.acked_end > last]
        missing = [node.name for node in nodes if node.acked_end <= last]
        return Holders([(self._name, ticket.appended_at), *since], missing)


def _copies(ticket: Ticket, holders: Holders, now: float) -> Copies:
    assert ticket.offset is not None
    return Copies(ticket.offset, ticket.count, ticket.epoch, ticket.replayed, ticket.started, now, holders)


def _tell(ticket: Ticket, outcome: Copies | Exception) -> None:
    """Whatever goes wrong with one client's answer, the others get theirs."""
    try:
        ticket.tell(outcome)
    except Exception:
        logger.exception("a client could not be told what became of its append")


def _settle(told: asyncio.Future[Copies], outcome: Copies | Exception) -> None:
    if told.done():
        return
    if isinstance(outcome, Exception):
        told.set_exception(outcome)
    else:
        told.set_result(outcome)
