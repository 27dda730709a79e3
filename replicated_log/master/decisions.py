"""What a :class:`replicated_log.master.reign.Reign` decides, for its driver to do."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from replicated_log.wire.batch import Batch
from replicated_log.wire.delivery import Beat, Fetch, LiveBatches
from replicated_log.wire.errors import CorruptLogError

Waiter = TypeVar("Waiter", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Commit:
    """Store these batches in one durable commit, then call :meth:`Reign.committed` or :meth:`Reign.commit_refused`."""

    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True)
class FindKey:
    """Look up in the log which append has this key, then call :meth:`Reign.key_found` or ``key_unreadable``."""

    key: str


@dataclass(slots=True)  # Not frozen, which would make one take three times as long.
class Appended(Generic[Waiter]):
    """The waiter's records are on the master's disk from ``offset`` on."""

    waiter: Waiter
    offset: int


@dataclass(frozen=True, slots=True)
class Replayed(Generic[Waiter]):
    """The waiter's messages are in the log from ``offset`` on, by another append with the same key, of ``epoch``."""

    waiter: Waiter
    offset: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Reached(Generic[Waiter]):
    """As many nodes as asked for hold the waiters' records, which are of one batch."""

    waiters: Sequence[Waiter]


@dataclass(frozen=True, slots=True)
class NotAppended(Generic[Waiter]):
    """Nothing of the waiter is stored: ``read_only`` says why this master must not append; None: its disk is full."""

    waiter: Waiter
    read_only: str | None


@dataclass(frozen=True, slots=True)
class EndMismatch(Generic[Waiter]):
    """Nothing of the waiter is stored: when its turn came, the log ended at ``end_offset``."""

    waiter: Waiter
    end_offset: int


@dataclass(frozen=True, slots=True)
class KeyReused(Generic[Waiter]):
    """Nothing of the waiter is stored: in the log, its key belongs to other messages."""

    waiter: Waiter


@dataclass(frozen=True, slots=True)
class KeyUnreadable(Generic[Waiter]):
    """Nothing is stored for the waiter; but damage hides whether the log holds its messages from an earlier one."""

    waiter: Waiter
    error: CorruptLogError


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish to the fanout exchange. For batches, call :meth:`Reign.confirmed` when the broker has confirmed.

    The broker is to drop it when it has waited ``expires_s`` seconds in a queue; None: never.
    """

    delivery: LiveBatches | Beat
    expires_s: float | None = None


@dataclass(frozen=True, slots=True)
class ReadChain:
    """Read the chain at ``offset`` from the log, then call :meth:`Reign.chain_read`."""

    offset: int


@dataclass(frozen=True, slots=True)
class AnswerFetch:
    """Read up to MAX_DELIVERY_BYTES of batches from the log, and send :meth:`Reign.fetched` to ``fetch.reply_to``."""

    fetch: Fetch


Refusal = NotAppended[Waiter] | EndMismatch[Waiter] | KeyReused[Waiter] | KeyUnreadable[Waiter]
Outcome = Appended[Waiter] | Replayed[Waiter] | Refusal[Waiter]
Decision = Commit | FindKey | Outcome[Waiter] | Reached[Waiter] | Publish | ReadChain | AnswerFetch
