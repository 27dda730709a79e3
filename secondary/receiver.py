"""Drives the secondary's half of the protocol: what the broker delivers, the log, and the acks."""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from math import inf
from typing import Final

from prometheus_client import CollectorRegistry

from infra.aio.callbacks import Callbacks
from infra.aio.offset_watch import OffsetWatch
from infra.disk.log_thread import LogThread
from infra.rabbitmq.names import Names
from infra.rabbitmq.reconnecting import keep_session
from infra.rabbitmq.session import PREFETCH, Session
from infra.rabbitmq.transport import Received
from infra.rabbitmq.trouble import BrokerLostError
from node.health import NotReady
from node.metrics import CollectedBy, Commits
from replicated_log.secondary.decisions import Notice, Persist, Send
from replicated_log.secondary.intake import Intake
from replicated_log.timings import Timings
from replicated_log.wire.batch import Batch
from replicated_log.wire.delivery import FOLLOWING, Ack, Beat, Fetch, MalformedDeliveryError, decode, encode
from replicated_log.wire.errors import DiskFullError
from secondary.simulation import Effects, Simulation

MAX_UNSENT: Final = 1000
SETTLE_AT: Final = PREFETCH // 2
"""So many deliveries at least are settled at once,"""
SETTLE_S: Final = 0.2
"""or fewer after this long."""

logger = logging.getLogger(__name__)


class Receiver:
    """Carries out the intake's decisions: every event is followed by :meth:`_perform`, so no decision waits."""

    def __init__(
        self,
        log: LogThread,
        *,
        name: str,
        names: Names,
        amqp_urls: Sequence[str],
        effects: Effects,
        timings: Timings,
        amqp: str,
    ) -> None:
        self.simulation = Simulation(effects)
        self.intake = Intake(
            node=name,
            disk_id=log.log.disk_id,
            log_id=log.log.log_id,
            epoch=log.log.epoch,
            end=log.log.end,
            latency=self.simulation.draw(),
            fresh_id=lambda: secrets.token_hex(8),
            timings=timings,
        )
        self.committed = OffsetWatch(self._committed_end)
        self.connected = False
        self.poison = 0
        self.sent_acks = 0
        self.registry = CollectorRegistry()
        self._commits = Commits()
        self.registry.register(CollectedBy(self._commits.collect))
        self._log = log
        self._name = name
        self._names = names
        self._amqp_urls = amqp_urls
        self._timings = timings
        self._amqp = amqp
        self._loop = asyncio.get_running_loop()
        self._beat_at: float | None = None
        self._wakes_at = inf
        self._wakes_earlier = asyncio.Event()
        self._callbacks = Callbacks()
        self._on_persisted = self._callbacks.watched(self._persisted)
        self._on_not_persisted = self._callbacks.watched(self._not_persisted)
        # These belong to one session. Acks and fetches are repeated, so a full queue may lose one.
        self._session: Session | None = None
        self._answers_to = ""
        self._sends: asyncio.Queue[Send] = asyncio.Queue(MAX_UNSENT)
        self._unsettled: deque[tuple[Received, int]] = deque()
        self._settles = asyncio.Event()
        self._heard_at = 0.0

    async def run(self) -> None:
        """Persist, ack and fetch, for ever. Raises what the log raises: after that nothing may go on."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._callbacks.failed())
            tasks.create_task(self._log.work_off_journal())
            tasks.create_task(self._keep_time())
            session = keep_session(
                self._amqp_urls, self._name, self._set_up, self._work, timings=self._timings, way=self._amqp
            )
            tasks.create_task(session)

    def simulate(self, effects: Effects) -> None:
        """Simulate this from now on; what waits already is delayed no longer than that."""
        logger.info("simulating: %s", effects)
        self.simulation.simulate(effects)
        self.intake.simulate(self.simulation.longest, self._loop.time())
        self._perform()

    def readiness(self) -> NotReady | None:
        """Why this node must not be relied on to keep up with the master; None when it may be."""
        if self.intake.state != FOLLOWING:
            return NotReady(self.intake.state, f"the node is {self.intake.state}")
        if self.intake.disk_full:
            return NotReady("disk-full", "the disk is full: nothing is persisted until there is room")
        if self._beat_at is None:
            return NotReady("no-master", "no beat of a master has come yet")
        silence_s = self._loop.time() - self._beat_at
        if silence_s >= self._timings.suspected_s:
            return NotReady("no-master", f"the last beat of the master came {silence_s:.1f} s ago")
        return None

    def _perform(self) -> None:
        for decision in self.intake.decisions(self._loop.time()):
            match decision:
                case Persist():
                    self._persist(decision)
                case Send(_, delivery):
                    for _ in range(self.simulation.times(delivery)):
                        self._send(decision)
                case Notice(text):
                    logger.info("%s", text)
        if len(self._unsettled) >= SETTLE_AT:
            self._settles.set()
        wakeup = self.intake.next_wakeup()
        if wakeup is not None and wakeup < self._wakes_at:
            self._wakes_earlier.set()
        self.committed.moved()

    def _send(self, send: Send) -> None:
        """Send it at once if nothing holds it up, or else in its turn."""
        session = self._session if self._sends.empty() else None
        if session is not None and session.post(send.to, encode(send.delivery)):
            self.sent_acks += isinstance(send.delivery, Ack)
        elif not self._sends.full():
            self._sends.put_nowait(send)

    def _committed_end(self) -> int:
        """Of a log that is not the master's, nothing is known to be held by a majority."""
        return 0 if self.intake.diverged else min(self.intake.committed_end, self.intake.on_disk.offset)

    async def _keep_time(self) -> None:
        """Carry out the intake's decisions at the times that it asks for."""
        while True:
            self._wakes_earlier.clear()
            wakeup = self.intake.next_wakeup()
            self._wakes_at = inf if wakeup is None else wakeup
            try:
                async with asyncio.timeout_at(wakeup):
                    await self._wakes_earlier.wait()
            except TimeoutError:
                self._perform()

    def _persist(self, persist: Persist) -> None:
        self._log.append(
            persist.batches,
            partial(self._on_persisted, persist.batches),
            self._on_not_persisted,
            adopt=persist.adopt,
            epoch=persist.epoch,
        )

    def _persisted(self, batches: Sequence[Batch], took_s: float) -> None:
        self.intake.latency = self.simulation.draw()
        self.intake.persisted(self._loop.time())
        self._perform()
        self._commits.observe(batches, took_s)

    def _not_persisted(self, error: BaseException) -> None:
        if not isinstance(error, DiskFullError):
            raise error
        self.intake.persist_refused(self._loop.time())
        self._perform()

    async def _set_up(self, session: Session) -> None:
        self._sends, self._unsettled = asyncio.Queue(MAX_UNSENT), deque()
        self._answers_to = self._names.fetched_queue(self._name, secrets.token_hex(4))
        await session.declare_exchange(self._names.exchange)
        queue = await session.declare_node_queue(
            self._names.node_queue(self._name), self._names.exchange, spare=self._names.spare_queue(self._name)
        )
        await session.declare_reply_queue(self._answers_to)
        watched = self._callbacks.watched
        await session.consume(self._answers_to, watched(self._receive_answer), settled=True)
        await session.consume(queue, watched(self._receive), settled=False)

    async def _work(self, session: Session) -> None:
        self.intake.connected(self._answers_to)
        self.connected = True
        self._session = session
        self._heard_at = self._loop.time()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._settle())
                tasks.create_task(session.spared())
                while True:
                    send = await self._sends.get()
                    await session.send(send.to, encode(send.delivery))
                    self.sent_acks += isinstance(send.delivery, Ack)
        finally:
            self._session = None
            self.connected = False
            self.intake.connection_lost()

    def _receive(self, received: Received) -> None:
        self._take(received)
        self._unsettled.append((received, self.intake.accepted.offset))
        self._perform()

    def _receive_answer(self, received: Received) -> None:
        self._take(received)
        self._perform()

    def _take(self, received: Received) -> None:
        now = self._heard_at = self._loop.time()
        try:
            delivery = decode(received.envelope)
            if isinstance(delivery, Ack | Fetch):
                raise MalformedDeliveryError(f"a {received.envelope.kind} is nothing for a secondary")
        except MalformedDeliveryError as error:
            self.poison += 1
            logger.warning("dropped a delivery: %s", error)
            return
        self.intake.receive(delivery, now)
        if isinstance(delivery, Beat):
            # Settled at once, or the next process would get it again when its master is long gone.
            self._settles.set()
            if delivery.reign == self.intake.reign:
                self._beat_at = now

    async def _settle(self) -> None:
        """Settle deliveries that are persisted, dropped, or held in memory only because a delay is simulated.

        Many at once, and at each beat, since each settling costs the broker and this node about as much as an ack.
        Raises BrokerLostError when nothing was delivered for ``timings.silence_s``: the way here may be broken.
        """
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_S):
                    await self._settles.wait()
            self._settles.clear()
            if self._loop.time() - self._heard_at > self._timings.silence_s:
                raise BrokerLostError(f"nothing was delivered for {self._timings.silence_s:g} s")
            last = None
            while self._unsettled and not self.intake.needs(self._unsettled[0][1]):
                last, _ = self._unsettled.popleft()
            if last is not None:
                last.settle_up_to()
