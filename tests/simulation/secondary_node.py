"""A virtual secondary: the real Intake, driven as secondary/receiver.py drives it."""

from collections import deque
from typing import Final

from replicated_log.secondary.decisions import Persist, Send
from replicated_log.secondary.intake import Intake, Latency
from replicated_log.timings import DEFAULT
from replicated_log.wire.delivery import Ack, Envelope, Fetch, MalformedDeliveryError, decode, encode
from replicated_log.wire.errors import DiskFullError
from tests.simulation.broker import Session
from tests.simulation.history import Read
from tests.simulation.host import Driver, Host

SETTLE_S: Final = 0.2


class Secondary(Driver):
    def __init__(self, host: Host) -> None:
        super().__init__(host)
        node = host.node
        self.intake = Intake(
            node=node.name,
            disk_id=self.log.disk_id,
            log_id=self.log.log_id,
            epoch=self.log.epoch,
            end=self.log.end,
            latency=Latency(node.ack_delay, node.persist_delay),
            fresh_id=self.world.fresh_id,
        )
        self._unsettled: deque[tuple[int, int]] = deque()
        self._settles_few = False
        self._wakeup: float | None = None
        self._heard = self.world.now
        self._watch()

    def _perform(self) -> None:
        for decision in self.intake.decisions(self.clock):
            match decision:
                case Persist():
                    self._writing = decision
                    self.after(self._disk_time(), self._persist, decision)
                case Send(to, delivery):
                    if self.session is not None:
                        self.session.send(to, encode(delivery))
        if len(self._unsettled) >= max(1, self.world.plan.weather.prefetch // 2):
            self._settle()
        wakeup = self.intake.next_wakeup()
        if wakeup is not None and (self._wakeup is None or wakeup < self._wakeup):
            self._wakeup = wakeup
            self.after(max(wakeup - self.clock, 1e-6), self._wake_up)

    def _watch(self) -> None:
        if self.world.now - self._heard > DEFAULT.silence_s:
            self._heard = self.world.now
            self.give_up_session()
        self.after(DEFAULT.silence_s / 4, self._watch)

    def _wake_up(self) -> None:
        self._wakeup = None
        self._perform()

    def _settle_few(self) -> None:
        self._settle()
        self._settles_few = bool(self._unsettled)
        if self._settles_few:
            self.after(SETTLE_S, self._settle_few)

    def _settle(self) -> None:
        last = None
        while self._unsettled and not self.intake.needs(self._unsettled[0][1]):
            last, _ = self._unsettled.popleft()
        if last is not None and self.session is not None:
            self.session.settle_up_to(last)

    def _persist(self, persist: Persist) -> None:
        self._writing = None
        try:
            self.log.append(persist.batches, adopt=persist.adopt, epoch=persist.epoch)
        except DiskFullError:
            self.intake.persist_refused(self.clock)
        else:
            self.intake.persisted(self.clock)
        self._perform()

    def _connected(self, session: Session) -> None:
        self._unsettled.clear()
        answers_to = f"replog.main.fetched.{self.name}.{session.number}"
        self.world.broker.declare_exclusive(answers_to, session)
        self.intake.connected(answers_to)
        self.world.broker.consume(self.name, session)
        self._perform()

    def _disconnected(self) -> None:
        self.intake.connection_lost()
        self._perform()

    def receive(self, session: Session, tag: int, envelope: Envelope) -> None:
        if session is not self.session:
            return
        self._heard = self.world.now
        try:
            delivery = decode(envelope)
        except MalformedDeliveryError:
            pass
        else:
            assert not isinstance(delivery, Ack | Fetch)
            self.intake.receive(delivery, self.clock)
        if tag:
            self._unsettled.append((tag, self.intake.accepted.offset))
            if not self._settles_few:
                self._settles_few = True
                self.after(SETTLE_S, self._settle_few)
        self._perform()

    def confirmed(self, _: Session, __: int) -> None:
        raise AssertionError("a secondary publishes nothing")

    def read(self) -> Read:
        disk = self.host.disk
        return Read(self.world.now, disk.label, tuple(disk.records), self.intake.committed_end)
