"""A reign for tests whose appends have keys, or say where the log should end, and what becomes of them."""

from replicated_log.master.decisions import (
    Appended,
    Commit,
    Decision,
    EndMismatch,
    FindKey,
    KeyReused,
    KeyUnreadable,
    NotAppended,
    Replayed,
)
from replicated_log.master.reign import Reign
from replicated_log.wire.errors import CorruptLogError
from replicated_log.wire.idempotency import KeyedAppend, digest
from tests.unit.builders import make_ack, make_batches, only

OLD = make_batches("old", "older")
END = OLD[-1].end
OUTCOMES = (Appended, Replayed, NotAppended, EndMismatch, KeyReused, KeyUnreadable)
"""What becomes of an append."""
DAMAGED = CorruptLogError(0, "damaged")


def ask(
    reign: Reign[str], waiter: str, *texts: str, key: str | None = None, if_end: int | None = None, w: int = 1
) -> None:
    messages = [text.encode() for text in texts or (waiter,)]
    reign.append(waiter, messages, w=w, time_ms=1_000, now=0.0, key=key, if_end=if_end)


def outcomes(decisions: list[Decision[str]]) -> list[object]:
    return [decision for decision in decisions if isinstance(decision, OUTCOMES)]


def not_found(reign: Reign[str], key: str = "k") -> None:
    """The log is asked for the key, once, and does not have it."""
    assert only(reign.decisions(), FindKey) == [FindKey(key)]
    reign.key_found(key, None, 0.0)


def commit(reign: Reign[str]) -> list[object]:
    """Do the commit that is due; the outcomes of its appends."""
    (due,) = only(decisions := reign.decisions(), Commit)
    before = outcomes(decisions)
    reign.committed()
    assert due.batches
    return before + outcomes(reign.decisions())


def in_log(key: str, *texts: str, offset: int = 0, epoch: int = 1) -> KeyedAppend:
    return KeyedAppend(key, digest([text.encode() for text in texts]), offset, len(texts), epoch)


def conflict(reign: Reign[str]) -> str:
    reign.receive(make_ack(make_batches(*"vwxyz")[-1].end, reign=None), 0.0)
    assert reign.progress.conflict is not None
    return reign.progress.conflict


# Rule 9: the log is asked for the key.
