"""Drives the secondary's half of the protocol: what the broker delivers, the log, and the acks."""

import asyncio
import logging
import secrets
from collections import deque
from typing import Final

from infra.log_thread import LogThread
from infra.names import Names
from infra.rabbitmq import BrokerLostError, Received, Session, keep_session
from replicated_log.delivery import Ack, Fetch, MalformedDeliveryError, decode, encode
from replicated_log.intake import Intake, Latency, Notice, Persist, Send
from replicated_log.log import DiskFullError

SILENCE_S: Final = 10.0
"""After this long without a delivery, the way here may be broken: the session is made anew."""
MAX_UNSENT: Final = 1000

logger = logging.getLogger(__name__)


class Receiver:
    """Carries out the intake's decisions: every event is followed by :meth:`_perform`, so none waits."""

    def __init__(self, log: LogThread, *, name: str, names: Names, amqp_url: str, latency: Latency) -> None:
        self.intake = Intake(
            node=name,
            disk_id=log.log.disk_id,
            log_id=log.log.log_id,
            epoch=log.log.epoch,
            end=log.log.end,
            latency=latency,
            fresh_id=lambda: secrets.token_hex(8),
        )
        self.connected = False
        self.poison = 0
        self._log = log
        self._name = name
        self._names = names
        self._amqp_url = amqp_url
        self._loop = asyncio.get_running_loop()
        self._wakeup_changed = asyncio.Event()
        self._persists: asyncio.Queue[Persist] = asyncio.Queue()
        # These three belong to one session. Acks and fetches are repeated, so a full queue may lose one.
        self._answers_to = ""
        self._sends: asyncio.Queue[Send] = asyncio.Queue(MAX_UNSENT)
        self._unsettled: deque[tuple[Received, int]] = deque()
        self._settles = asyncio.Event()
        self._silence: asyncio.Timeout | None = None

    async def run(self) -> None:
        """Persist, ack and fetch, for ever. Raises what the log raises: after that nothing may go on."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._persist())
            tasks.create_task(self._keep_time())
            tasks.create_task(keep_session(self._amqp_url, self._name, self._set_up, self._work))

    def _perform(self) -> None:
        for decision in self.intake.decisions(self._loop.time()):
            match decision:
                case Persist():
                    self._persists.put_nowait(decision)
                case Send():
                    if not self._sends.full():
                        self._sends.put_nowait(decision)
                case Notice(text):
                    logger.info("%s", text)
        self._settles.set()
        self._wakeup_changed.set()

    async def _keep_time(self) -> None:
        """Ask the intake for decisions whenever it wants to be asked."""
        while True:
            self._wakeup_changed.clear()
            try:
                async with asyncio.timeout_at(self.intake.next_wakeup()):
                    await self._wakeup_changed.wait()
            except TimeoutError:
                self._perform()

    async def _persist(self) -> None:
        while True:
            persist = await self._persists.get()
            try:
                await self._log.append(persist.batches, adopt=persist.adopt, epoch=persist.epoch)
            except DiskFullError:
                self.intake.persist_refused(self._loop.time())
            else:
                self.intake.persisted(self._loop.time())
            self._perform()

    async def _set_up(self, session: Session) -> None:
        self._sends, self._unsettled = asyncio.Queue(MAX_UNSENT), deque()
        self._answers_to = self._names.fetched_queue(self._name, secrets.token_hex(4))
        queue = self._names.node_queue(self._name)
        await session.declare_exchange(self._names.exchange)
        await session.declare_node_queue(queue, self._names.exchange)
        await session.declare_reply_queue(self._answers_to)
        await session.consume(self._answers_to, self._receive_answer, settled=True)
        await session.consume(queue, self._receive, settled=False)

    async def _work(self, session: Session) -> None:
        self.intake.connected(self._answers_to)
        self.connected = True
        try:
            async with asyncio.timeout(SILENCE_S) as self._silence, asyncio.TaskGroup() as tasks:
                tasks.create_task(self._settle())
                while True:
                    send = await self._sends.get()
                    await session.send(send.to, encode(send.delivery))
        except TimeoutError:
            raise BrokerLostError(f"nothing was delivered for {SILENCE_S:g} s") from None
        finally:
            self._silence = None
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
        if self._silence is not None and not self._silence.expired():
            self._silence.reschedule(self._loop.time() + SILENCE_S)
        try:
            delivery = decode(received.envelope)
            if isinstance(delivery, Ack | Fetch):
                raise MalformedDeliveryError(f"a {received.envelope.kind} is nothing for a secondary")
        except MalformedDeliveryError as error:
            self.poison += 1
            logger.warning("dropped a delivery: %s", error)
            return
        self.intake.receive(delivery, self._loop.time())

    async def _settle(self) -> None:
        """Settle what is finished with: persisted, dropped, or held in memory because its delay is simulated."""
        while True:
            await self._settles.wait()
            self._settles.clear()
            last = None
            while self._unsettled and not self.intake.needs(self._unsettled[0][1]):
                last, _ = self._unsettled.popleft()
            if last is not None:
                await last.settle_up_to()
