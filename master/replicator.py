"""Drives the master's half of the protocol: its log, the broker, and the clients that wait."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from infra.aio.callbacks import Callbacks
from infra.aio.offset_watch import OffsetWatch
from infra.disk.log_thread import LogThread
from infra.rabbitmq.names import Names
from infra.rabbitmq.reconnecting import keep_session
from infra.rabbitmq.session import Session
from infra.rabbitmq.transport import Received
from master.commit_gatherer import CommitGatherer
from master.metrics import MasterMetrics
from master.outcome import NoSuchRecordError, ReplicationResult
from master.pending_appends import PendingAppend, PendingAppends
from master.protocol_reads import ProtocolReads
from replicated_log.master.decisions import AnswerFetch, Appended, Commit, FindKey, Publish, ReadChain
from replicated_log.master.reign import ReadOnlyError, Reign
from replicated_log.wire.batch import Batch
from replicated_log.wire.delivery import (
    Ack,
    Beat,
    Fetch,
    LiveBatches,
    MalformedDeliveryError,
    decode,
    encode,
)
from replicated_log.wire.errors import DiskFullError

logger = logging.getLogger(__name__)


class Replicator:
    """Carries out the reign's decisions: every event is followed by :meth:`_perform`, so no decision waits.

    Only appends may wait some turns of the event loop for others, so that they share a commit.
    """

    def __init__(
        self,
        reign: Reign[PendingAppend],
        log: LogThread,
        *,
        name: str,
        names: Names,
        amqp_urls: Sequence[str],
        amqp: str,
    ) -> None:
        self.reign = reign
        self.committed = OffsetWatch(lambda: reign.progress.committed_end)
        self.poison = 0
        self.disk_full_at: float | None = None
        """When the disk last refused a commit, on the monotonic clock; None since one went well."""
        self.metrics = MasterMetrics(reign.progress)
        self._log = log
        self._name = name
        self._names = names
        self._amqp_urls = amqp_urls
        self._timings = reign.timings
        self._amqp = amqp
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        self._callbacks = Callbacks()
        self._commit_gatherer = CommitGatherer(self._callbacks.watched(self._perform))
        self._on_received = self._callbacks.watched(self._receive)
        self._on_published = self._callbacks.watched(self._published)
        self._on_committed = self._callbacks.watched(self._committed)
        self._on_not_committed = self._callbacks.watched(self._not_committed)
        self._pending = PendingAppends(reign, name)
        self._reads = ProtocolReads(reign, log, self._perform)
        self._connections = 0
        self._reply_to = ""
        self._begins_at = log.log.end.offset
        self._session: Session | None = None

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
                tasks.create_task(self._reads.find_keys())
                tasks.create_task(self._tick())
                session = keep_session(
                    self._amqp_urls, self._name, self._set_up, self._work, timings=self._timings, way=self._amqp
                )
                tasks.create_task(session)
        finally:
            # Nothing is decided any more: answer the clients that still wait with what is known of their messages.
            self.wind_up(0)

    async def append(
        self, messages: list[bytes], *, w: int, timeout_s: float, key: str | None = None, if_end: int | None = None
    ) -> ReplicationResult:
        """Append atomically, and wait until ``w`` nodes hold the messages on disk.

        As :meth:`begin`; the outcome is returned or raised. Cancelling the wait never cancels the append.
        """
        outcome: asyncio.Future[ReplicationResult] = self._loop.create_future()
        pending = self.begin(messages, partial(_set_outcome, outcome), w=w, timeout_s=timeout_s, key=key, if_end=if_end)
        return await self._outcome_of(pending, outcome)

    def begin(
        self,
        messages: list[bytes],
        on_outcome: Callable[[ReplicationResult | Exception], None],
        *,
        w: int,
        timeout_s: float,
        key: str | None = None,
        if_end: int | None = None,
    ) -> PendingAppend:
        """Append atomically. ``on_outcome`` is called once: when ``w`` nodes hold the messages, or with an error.

        The list is emptied, so that they take no memory once they are on the master's disk, however long the wait.
        Where an append with the same ``key`` (1 to 255 printable ASCII characters) and the same messages is in the log
        already, or on its way there, it counts for this one. ``if_end``: only if the log ends there.
        The messages, with the key, must fit into one batch: see :func:`replicated_log.wire.batch.append_size`.
        A caller that does not wait for the outcome any more calls :meth:`forget`.

        Raises ReadOnlyError or OverloadedError: nothing is appended. The outcome is a ReplicationResult or an error:
        ReadOnlyError, DiskFullError, KeyReusedError or EndMismatchError: nothing is appended; NotReachedError, after
        ``timeout_s``: appended; NotCommittedError: not known yet; CorruptLogError: it can't be known, as the log is
        damaged where it says what was appended with the key.
        """
        if self._stopping:
            raise ReadOnlyError("this master is about to stop")
        pending = PendingAppend(len(messages), w, self.reign.progress.end.offset, on_outcome, time.monotonic())
        taken, time_ms = tuple(messages), time.time_ns() // 1_000_000
        messages.clear()
        self.reign.append(pending, taken, w=w, time_ms=time_ms, now=pending.started, key=key, if_end=if_end)
        self._pending.add(pending, timeout_s)
        self._commit_gatherer.one_more(pending.count)
        return pending

    async def wait(self, offset: int, *, w: int, timeout_s: float) -> ReplicationResult:
        """Wait until ``w`` nodes hold the record at ``offset``; any client may have appended it, at any time.

        Raises NoSuchRecordError, NotReachedError, OverloadedError or CorruptLogError.
        """
        outcome: asyncio.Future[ReplicationResult] = self._loop.create_future()
        pending = PendingAppend(1, w, self.reign.progress.end.offset, partial(_set_outcome, outcome), time.monotonic())
        if offset >= pending.log_end:
            raise NoSuchRecordError(pending.log_end)
        pending.place(offset, await self._epoch_at(offset), pending.started)
        self.reign.wait(pending, offset, w)
        self._pending.add(pending, 0 if self._stopping else timeout_s)
        self._perform()
        return await self._outcome_of(pending, outcome)

    def forget(self, pending: PendingAppend) -> bool:
        """The client is gone; False when it did not wait any more.

        What it appended stays, and is replicated all the same.
        """
        return self._pending.forget(pending)

    async def _outcome_of(
        self, pending: PendingAppend, outcome: asyncio.Future[ReplicationResult]
    ) -> ReplicationResult:
        try:
            return await outcome
        finally:
            self.forget(pending)

    async def _epoch_at(self, offset: int) -> int:
        if offset >= self._begins_at:
            return self.reign.id.epoch
        (batch, *_) = await self._log.batches(offset, 1)
        return batch.epoch

    def wind_up(self, grace_s: float) -> None:
        """The process is about to stop: take no more appends, and let no client wait longer than ``grace_s``."""
        self._stopping = True
        self._pending.shorten(grace_s)

    def _perform(self) -> None:
        now = time.monotonic()
        for decision in self.reign.decisions():
            match decision:
                case Appended(pending, offset):
                    pending.place(offset, self.reign.id.epoch, now)
                    self.metrics.appended(pending.started)
                case Commit(batches):
                    self._log.append(batches, partial(self._on_committed, batches), self._on_not_committed)
                case Publish(delivery, expires_s):
                    self._publish(delivery, expires_s)
                case FindKey() | ReadChain() | AnswerFetch():
                    self._reads.ask(decision)
                case _:
                    self._pending.decided(decision, now)
        self.committed.moved()

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
        self._session = session
        self._reads.begin_session()
        try:
            self.reign.connected(self._reply_to)
            self.reign.tick(time.monotonic())
            self._perform()
            await self._reads.serve(session)
        finally:
            self._session = None
            self.reign.connection_lost()

    async def _tick(self) -> None:
        while True:
            self.reign.tick(time.monotonic())
            self._perform()
            await asyncio.sleep(self._timings.beat_s)

    def _publish(self, delivery: LiveBatches | Beat, expires_s: float | None) -> None:
        assert self._session is not None
        self._session.publish(self._names.exchange, encode(delivery, expires_s), partial(self._on_published, delivery))

    def _published(self, delivery: LiveBatches | Beat, taken: bool) -> None:
        self.metrics.published(delivery, taken=taken)
        if isinstance(delivery, LiveBatches):
            self.reign.confirmed()
            self._perform()

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


def _set_outcome(future: asyncio.Future[ReplicationResult], outcome: ReplicationResult | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
