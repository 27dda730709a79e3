"""Drives the master's half of the protocol: its log, the broker, and those who wait for copies."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from infra.log_thread import LogThread
from infra.names import Names
from infra.rabbitmq import Received, Session, keep_session
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
from replicated_log.reign import (
    AnswerFetch,
    Appended,
    Commit,
    NotAppended,
    Publish,
    Reached,
    ReadChain,
    ReadOnlyError,
    Reign,
)

MAX_READS: Final = 1000

logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Ticket:
    """One client's append, on its way. ``offset`` is None until it is on the master's disk."""

    started: float
    reached: asyncio.Future[None]
    offset: int | None = None
    appended_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Copies:
    """Who holds a record, and since when: node names with milliseconds from the request, master first."""

    offset: int
    held_by: Sequence[tuple[str, float | None]]
    missing: Sequence[str]
    elapsed_ms: float


class NotReachedError(Exception):
    """Raised by :meth:`Replicator.append`: appended and being replicated, but not on w nodes in time."""

    def __init__(self, copies: Copies) -> None:
        super().__init__(f"on {len(copies.held_by)} nodes after {copies.elapsed_ms:.0f} ms")
        self.copies = copies


class NotCommittedError(Exception):
    """Raised by :meth:`Replicator.append`: the master's own commit did not end in time. It may still be appended."""


class Replicator:
    """Carries out the reign's decisions: every event is followed by :meth:`_perform`, so none waits."""

    def __init__(self, reign: Reign[Ticket], log: LogThread, *, name: str, names: Names, amqp_url: str) -> None:
        self.reign = reign
        self.connected = False
        self.poison = 0
        self.disk_full = False
        self._log = log
        self._name = name
        self._names = names
        self._amqp_url = amqp_url
        self._stopping = False
        self._limits: set[asyncio.Timeout] = set()
        self._connections = 0
        self._reply_to = ""
        self._commits: asyncio.Queue[Commit] = asyncio.Queue()
        # These two belong to one session. The reign bounds what it wants published and the chains it wants read;
        # whoever wants to fetch asks again, so a full queue may lose that.
        self._publishes: asyncio.Queue[Publish] = asyncio.Queue()
        self._reads: asyncio.Queue[ReadChain | AnswerFetch] = asyncio.Queue()

    async def run(self) -> None:
        """Commit, publish and count, for ever. Raises what the log raises: after that nothing may go on."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._commit())
                tasks.create_task(self._tick())
                tasks.create_task(keep_session(self._amqp_url, self._name, self._set_up, self._work))
        finally:
            # Whoever still waits would wait in vain: let them be told what is known of their messages.
            self.wind_up(0)

    async def append(self, messages: Sequence[bytes], *, w: int, timeout_s: float) -> Copies:
        """Append atomically, and wait until ``w`` nodes hold the messages on disk.

        Raises ReadOnlyError or DiskFullError: nothing is appended; NotReachedError: appended; NotCommittedError:
        nobody knows yet. Cancelling the wait never cancels the append.
        """
        if self._stopping:
            raise ReadOnlyError("this master is about to stop")
        ticket = Ticket(time.monotonic(), asyncio.get_running_loop().create_future())
        self.reign.append(ticket, messages, w=w, time_ms=time.time_ns() // 1_000_000, now=ticket.started)
        self._perform()
        try:
            async with asyncio.timeout(timeout_s) as limit:
                self._limits.add(limit)
                await ticket.reached
        except TimeoutError:
            if ticket.reached.done() and not ticket.reached.cancelled():
                await ticket.reached  # It was decided at the last moment.
                return self._copies(ticket)
            if ticket.offset is None:
                raise NotCommittedError("it is not known yet whether the message is on the master's disk") from None
            raise NotReachedError(self._copies(ticket)) from None
        finally:
            self._limits.discard(limit)
            self.reign.forget(ticket)
        return self._copies(ticket)

    def wind_up(self, grace_s: float) -> None:
        """The process is about to stop: take no more appends, and let nobody wait longer than ``grace_s``."""
        self._stopping = True
        latest = asyncio.get_running_loop().time() + grace_s
        for limit in self._limits:
            when = limit.when()
            if when is not None and when > latest and not limit.expired():
                limit.reschedule(latest)

    def _perform(self) -> None:
        for decision in self.reign.decisions():
            match decision:
                case Commit():
                    self._commits.put_nowait(decision)
                case Appended(ticket, offset):
                    ticket.offset, ticket.appended_at = offset, time.monotonic()
                case Reached(ticket):
                    if not ticket.reached.done():
                        ticket.reached.set_result(None)
                case NotAppended(ticket, read_only):
                    if not ticket.reached.done():
                        ticket.reached.set_exception(
                            ReadOnlyError(read_only) if read_only else DiskFullError("no room for the log")
                        )
                case Publish():
                    self._publishes.put_nowait(decision)
                case ReadChain():
                    self._reads.put_nowait(decision)
                case AnswerFetch():
                    if self._reads.qsize() < MAX_READS:
                        self._reads.put_nowait(decision)

    async def _commit(self) -> None:
        while True:
            commit = await self._commits.get()
            try:
                await self._log.append(commit.batches)
            except DiskFullError as error:
                self._show_disk_full(True, f"{error}: nothing is appended until there is")
                self.reign.commit_refused()
            else:
                self._show_disk_full(False, "there is room on the disk again")
                self.reign.committed()
            self._perform()

    def _show_disk_full(self, disk_full: bool, notice: str) -> None:
        if disk_full != self.disk_full:
            self.disk_full = disk_full
            logger.warning("%s", notice)

    async def _set_up(self, session: Session) -> None:
        # A fresh name each time: the broker may keep the last connection's exclusive queue locked for a while.
        self._connections += 1
        self._reply_to = self._names.acks_queue(self.reign.id.epoch, self._connections)
        await session.declare_exchange(self._names.exchange, replace=True)
        await session.declare_reply_queue(self._reply_to)
        await session.consume(self._reply_to, self._receive, settled=True)

    async def _work(self, session: Session) -> None:
        self._publishes, self._reads = asyncio.Queue(), asyncio.Queue()
        self.reign.connected(self._reply_to)
        self.reign.tick(time.monotonic())
        self._perform()
        self.connected = True
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(session))
                while True:
                    publish = await self._publishes.get()
                    tasks.create_task(self._publish(session, publish.delivery))
        finally:
            self.connected = False
            self.reign.connection_lost()

    async def _tick(self) -> None:
        while True:
            self.reign.tick(time.monotonic())
            self._perform()
            await asyncio.sleep(BEAT_INTERVAL_S)

    async def _publish(self, session: Session, delivery: LiveBatches | Beat) -> None:
        await session.publish(self._names.exchange, encode(delivery))
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
        self.reign.receive(delivery, time.monotonic())
        self._perform()

    def _copies(self, ticket: Ticket) -> Copies:
        assert ticket.offset is not None
        holders = self.reign.progress.holders(ticket.offset)
        acked = [(node.name, node.acked_at(ticket.offset)) for node in holders]

        def since_start(moment: float | None) -> float | None:
            return None if moment is None else round((moment - ticket.started) * 1000, 3)

        return Copies(
            offset=ticket.offset,
            held_by=[(self._name, since_start(ticket.appended_at))]
            + [(name, since_start(moment)) for name, moment in acked],
            missing=[name for name in self.reign.progress.secondaries if name not in dict(acked)],
            elapsed_ms=round((time.monotonic() - ticket.started) * 1000, 3),
        )
