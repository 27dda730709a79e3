"""What a :class:`replicated_log.reign.Reign` decides, for its driver to do."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from replicated_log.batch import Batch
from replicated_log.delivery import Beat, Fetch, LiveBatches
from replicated_log.log_reader import CorruptLogError

Ticket = TypeVar("Ticket", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Commit:
    """Store these batches in one durable commit, then call :meth:`Reign.committed` or :meth:`Reign.commit_refused`."""

    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True)
class FindKey:
    """Look up in the log which append has this key, then call :meth:`Reign.key_found` or ``key_unreadable``."""

    key: str


@dataclass(slots=True)  # Not frozen, which would make one take three times as long.
class Appended(Generic[Ticket]):
    """The ticket's records are on the master's disk from ``offset`` on."""

    ticket: Ticket
    offset: int


@dataclass(frozen=True, slots=True)
class Replayed(Generic[Ticket]):
    """The ticket's messages are in the log from ``offset`` on, by another append with the same key, of ``epoch``."""

    ticket: Ticket
    offset: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Reached(Generic[Ticket]):
    """As many nodes as asked for hold the tickets' records, which are of one batch."""

    tickets: Sequence[Ticket]


@dataclass(frozen=True, slots=True)
class NotAppended(Generic[Ticket]):
    """Nothing of the ticket is stored: this master must not append, and why; or else (None) its disk is full."""

    ticket: Ticket
    read_only: str | None


@dataclass(frozen=True, slots=True)
class EndMismatch(Generic[Ticket]):
    """Nothing of the ticket is stored: when its turn came, the log ended at ``end_offset``."""

    ticket: Ticket
    end_offset: int


@dataclass(frozen=True, slots=True)
class KeyReused(Generic[Ticket]):
    """Nothing of the ticket is stored: in the log, its key is that of other messages."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class KeyUnreadable(Generic[Ticket]):
    """Nothing is stored for the ticket; but damage hides whether the log has its messages from before, by its key."""

    ticket: Ticket
    error: CorruptLogError


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish to the fanout exchange. For batches, call :meth:`Reign.confirmed` when the broker has confirmed."""

    delivery: LiveBatches | Beat


@dataclass(frozen=True, slots=True)
class ReadChain:
    """Read the chain at ``offset`` from the log, then call :meth:`Reign.chain_read`."""

    offset: int


@dataclass(frozen=True, slots=True)
class AnswerFetch:
    """Read up to MAX_DELIVERY_BYTES of batches from the log, and send :meth:`Reign.fetched` to ``fetch.reply_to``."""

    fetch: Fetch


Refusal = NotAppended[Ticket] | EndMismatch[Ticket] | KeyReused[Ticket] | KeyUnreadable[Ticket]
Outcome = Appended[Ticket] | Replayed[Ticket] | Refusal[Ticket]
Decision = Commit | FindKey | Outcome[Ticket] | Reached[Ticket] | Publish | ReadChain | AnswerFetch
