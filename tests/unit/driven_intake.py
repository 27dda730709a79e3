"""An intake with a disk and two ears, for tests: it does what the intake decides, and remembers it."""

from itertools import count

from replicated_log.secondary.decisions import Notice, Persist, Send
from replicated_log.secondary.intake import Intake, Latency
from replicated_log.wire.batch import START, Batch, Position
from replicated_log.wire.delivery import Ack, Beat, Fetch, Fetched, LiveBatches
from tests.unit.builders import LOG_ID, make_beat, make_fetched


class DrivenIntake:
    """Drives an :class:`Intake` whose disk is fast, slow or full.

    A slow disk finishes a commit when :meth:`finish_commit` is called; a full one refuses it then.
    """

    def __init__(
        self,
        *held: Batch,
        log_id: str | None = LOG_ID,
        ack_delay_s: float = 0.0,
        persist_delay_s: float = 0.0,
        slow_disk: bool = False,
        epoch: int = 0,
    ) -> None:
        end = held[-1].end if held else START
        numbers = count(1)
        self.intake = Intake(
            node="node1",
            disk_id="disk-1",
            log_id=log_id,
            epoch=max([epoch, *(batch.epoch for batch in held)]),
            end=end,
            latency=Latency(ack_delay_s, persist_delay_s),
            fresh_id=lambda: f"request-{next(numbers)}",
        )
        self.intake.connected("answers")
        self.slow_disk = slow_disk
        self.now = 0.0
        self.stored = list(held)
        self.commits: list[Persist] = []
        self.due: Persist | None = None
        self.sent: list[Send] = []
        self.notices: list[str] = []

    @property
    def acks(self) -> list[Ack]:
        return [send.delivery for send in self.sent if isinstance(send.delivery, Ack)]

    @property
    def acked_ends(self) -> list[int]:
        return [ack.acked.offset for ack in self.acks]

    @property
    def fetches(self) -> list[Fetch]:
        return [send.delivery for send in self.sent if isinstance(send.delivery, Fetch)]

    @property
    def end(self) -> Position:
        return self.stored[-1].end if self.stored else START

    def receive(self, *deliveries: LiveBatches | Beat | Fetched) -> None:
        for delivery in deliveries:
            self.intake.receive(delivery, self.now)
            self.act()

    def answer(self, *batches: Batch, end_offset: int | None = None) -> None:
        """Answer the last fetch as the followed master; without ``end_offset``, that is all it has."""
        assert self.intake.reign is not None
        end_offset = max([0, *(batch.end.offset for batch in batches)]) if end_offset is None else end_offset
        request_id = self.fetches[-1].request_id
        self.receive(make_fetched(request_id, *batches, reign=self.intake.reign, end_offset=end_offset))

    def wait_until(self, now: float) -> None:
        """Let time pass, waking up when the intake asks to be woken and at no other time."""
        while (wakeup := self.intake.next_wakeup()) is not None and wakeup <= now:
            assert wakeup > self.now, "an intake that has nothing to do must not keep its process awake"
            self.now = wakeup
            self.act()
        self.now = now

    def act(self) -> None:
        while decisions := self.intake.decisions(self.now):
            for decision in decisions:
                match decision:
                    case Persist():
                        assert self.due is None
                        self.due = decision
                    case Send():
                        self.sent.append(decision)
                    case Notice(text):
                        self.notices.append(text)
            if self.due and not self.slow_disk:
                self.finish_commit()

    def finish_commit(self, *, full: bool = False) -> None:
        assert self.due is not None
        commit, self.due = self.due, None
        if full:
            self.intake.persist_refused(self.now)
        else:
            for batch in commit.batches:
                assert batch.follows(self.end)
                self.stored.append(batch)
            self.commits.append(commit)
            self.intake.persisted(self.now)
        self.act()


def following_intake(
    *held: Batch, ack_delay_s: float = 0.0, persist_delay_s: float = 0.0, slow_disk: bool = False
) -> DrivenIntake:
    """One that has heard its master say that there is nothing it lacks; nothing of that is remembered."""
    driven = DrivenIntake(*held, ack_delay_s=ack_delay_s, persist_delay_s=persist_delay_s)
    driven.receive(make_beat(driven.end.offset))
    driven.slow_disk = slow_disk
    driven.commits.clear()
    driven.sent.clear()
    driven.notices.clear()
    return driven
