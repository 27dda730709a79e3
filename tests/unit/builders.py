"""Small builders of what the protocol is made of: batches that follow one another, and deliveries about them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

from replicated_log.storage.log import Log
from replicated_log.wire.batch import START, Batch, Position, encode_batch
from replicated_log.wire.delivery import FOLLOWING, Ack, Beat, Fetch, Fetched, LiveBatches, ReignId
from replicated_log.wire.idempotency import KeyedAppend, digest

LOG_ID: Final = "0123456789abcdef" * 2
OTHER_LOG_ID: Final = "fedcba9876543210" * 2
REIGN: Final = ReignId(LOG_ID, 1, "reign-1")

Kind = TypeVar("Kind")


def make_batch(
    *messages: str, previous: Position = START, epoch: int = 1, log_id: str = LOG_ID, time_ms: int = 1_000
) -> Batch:
    return encode_batch(
        [message.encode() for message in messages], log_id=log_id, epoch=epoch, time_ms=time_ms, previous=previous
    )


def make_batches(
    *contents: str | Sequence[str], previous: Position = START, epoch: int = 1, log_id: str = LOG_ID
) -> list[Batch]:
    """One batch for each argument, each following the one before: a text is one record, a list several."""
    batches: list[Batch] = []
    for content in contents:
        messages = [content] if isinstance(content, str) else content
        batches.append(make_batch(*messages, previous=previous, epoch=epoch, log_id=log_id))
        previous = batches[-1].end
    return batches


def make_keyed_batch(
    *appends: tuple[str | None, Sequence[str]], previous: Position = START, epoch: int = 1, log_id: str = LOG_ID
) -> Batch:
    """Of several appends, each with its key, if it has one, and its messages."""
    messages: list[bytes] = []
    keyed: list[KeyedAppend] = []
    for key, texts in appends:
        encoded = [text.encode() for text in texts]
        if key is not None:
            keyed.append(KeyedAppend(key, digest(encoded), previous.offset + len(messages), len(encoded), epoch))
        messages.extend(encoded)
    return encode_batch(messages, log_id=log_id, epoch=epoch, time_ms=1_000, previous=previous, keyed_appends=keyed)


def make_reign(epoch: int = 1, reign_id: str | None = None, log_id: str = LOG_ID) -> ReignId:
    return ReignId(log_id, epoch, f"reign-{epoch}" if reign_id is None else reign_id)


def make_beat(
    end_offset: int = 0, committed_end: int = 0, reign: ReignId = REIGN, reply_to: str = "acks", number: int = 1
) -> Beat:
    return Beat(reign, number, end_offset, committed_end, reply_to)


def make_live(*batches: Batch, reign: ReignId = REIGN, reply_to: str = "acks") -> LiveBatches:
    return LiveBatches(reign, batches, reply_to)


def make_fetched(request_id: str, *batches: Batch, reign: ReignId = REIGN, end_offset: int | None = None) -> Fetched:
    return Fetched(reign, request_id, batches[-1].end.offset if end_offset is None else end_offset, batches)


def make_ack(
    acked: Position,
    *,
    node: str = "node1",
    disk_id: str = "disk-1",
    log_id: str | None = LOG_ID,
    epoch: int | None = None,
    reign: ReignId | None = REIGN,
    beat: int = 1,
    state: str = FOLLOWING,
) -> Ack:
    """Without ``epoch``, the highest that the node has seen is that of the reign it follows."""
    if epoch is None:
        epoch = reign.epoch if reign else 0
    return Ack(node, disk_id, log_id, epoch, reign, beat, acked, state)


def make_fetch(from_offset: int, *, node: str = "node1", log_id: str | None = LOG_ID) -> Fetch:
    return Fetch(node, log_id, from_offset, "request", "answers")


def only(things: Sequence[object], kind: type[Kind]) -> list[Kind]:
    """Those of one kind, in order."""
    return [thing for thing in things if isinstance(thing, kind)]


def new_log(directory: Path, *batches: Batch) -> Log:
    """An open log of node1 that holds ``batches``, which are of LOG_ID."""
    log = Log.open(directory, "node1")
    log.adopt(LOG_ID)
    log.append(batches)
    return log
