"""Reigns for tests, and what drives them: appends, commits, and what is to be published."""

from collections.abc import Iterable

from replicated_log.master.decisions import Commit, Publish
from replicated_log.master.reign import Reign
from replicated_log.wire.batch import START, Batch, Position
from replicated_log.wire.delivery import JOINING, LiveBatches
from tests.unit.builders import REIGN, make_ack, only


def new_reign(*secondaries: str, end: Position = START, require_quorum: bool = False) -> Reign[str]:
    reign = Reign[str](REIGN, secondaries, end, require_quorum=require_quorum)
    reign.connected("acks")
    return reign


def heard_reign(*secondaries: str, end: Position = START, require_quorum: bool = False) -> Reign[str]:
    """One that has heard each of its secondaries say that it has no log yet."""
    reign = new_reign(*secondaries, end=end, require_quorum=require_quorum)
    for node in secondaries:
        reign.receive(make_ack(START, node=node, log_id=None, state=JOINING), 0.0)
    return reign


def append(reign: Reign[str], *texts: str, w: int = 1, now: float = 0.0) -> None:
    """Each text is a waiter and its message."""
    for text in texts:
        reign.append(text, [text.encode()], w=w, time_ms=1_000, now=now)


def commit(reign: Reign[str]) -> list[Batch]:
    """Do the commit that is due, and nothing after it."""
    (due,) = only(reign.decisions(), Commit)
    reign.committed()
    return list(due.batches)


def append_and_commit(reign: Reign[str], *texts: str, w: int = 1) -> list[Batch]:
    append(reign, *texts, w=w)
    return commit(reign)


def published(decisions: Iterable[object]) -> list[Batch]:
    """The batches that are to be published."""
    deliveries = [decision.delivery for decision in decisions if isinstance(decision, Publish)]
    return [batch for delivery in deliveries if isinstance(delivery, LiveBatches) for batch in delivery.batches]


def texts(batches: Iterable[Batch]) -> list[list[str]]:
    return [batch.messages() for batch in batches]
