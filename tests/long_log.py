"""A long log on disk, made without a master, in seconds."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from replicated_log.storage.log import Log
from replicated_log.wire.batch import Batch, encode_batch

BATCH_RECORDS: Final = 1000
_COMMIT_RECORDS: Final = 10_000
"""So many records share an fsync; a batch's bytes are the same as if each had had its own."""


def write_long_log(
    directory: Path, node: str, records: int, message_bytes: int, *, batch_records: int = BATCH_RECORDS
) -> None:
    """A new log of ``node``, in batches of ``batch_records``, 1 if every record was appended by itself.

    The message of each record is its offset and many blanks.
    """
    log = Log.open(directory, node)
    try:
        log.begin_reign()
        batches = _batches(log, records, message_bytes, batch_records)
        while commit := list(islice(batches, max(1, _COMMIT_RECORDS // batch_records))):
            log.append(commit)
    finally:
        log.close()


def _batches(log: Log, records: int, message_bytes: int, batch_records: int) -> Iterator[Batch]:
    assert log.log_id is not None
    end = log.end
    while end.offset < records:
        offsets = range(end.offset, min(end.offset + batch_records, records))
        messages = [str(offset).encode().ljust(message_bytes, b" ") for offset in offsets]
        batch = encode_batch(messages, log_id=log.log_id, epoch=log.epoch, time_ms=1_000_000, previous=end)
        yield batch
        end = batch.end
