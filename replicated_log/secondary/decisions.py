"""What an :class:`replicated_log.secondary.intake.Intake` decides, for its driver to do."""

from dataclasses import dataclass

from replicated_log.wire.batch import Batch
from replicated_log.wire.delivery import Ack, Fetch


@dataclass(frozen=True, slots=True)
class Persist:
    """Adopt the log id, if there is one, note the epoch, and store the batches, all in one durable commit.

    Then call :meth:`Intake.persisted`, or :meth:`Intake.persist_refused`.
    """

    adopt: str | None
    epoch: int
    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """Send this to the queue ``to``. Nothing depends on its arrival."""

    to: str
    delivery: Ack | Fetch


@dataclass(frozen=True, slots=True)
class Notice:
    """A change of state that an operator wants to read about, once."""

    text: str


Decision = Persist | Send | Notice
