"""A long log on disk, made without a master, in seconds."""

from pathlib import Path
from typing import Final

from replicated_log.batch import encode_batch
from replicated_log.log import Log

BATCH_RECORDS: Final = 1000


def write_long_log(directory: Path, node: str, records: int, message_bytes: int) -> None:
    """A new log of ``node``, in batches of a thousand records; the message of each is its offset and many blanks."""
    log = Log.open(directory, node)
    try:
        log.begin_reign()
        assert log.log_id is not None
        while log.end.offset < records:
            offsets = range(log.end.offset, min(log.end.offset + BATCH_RECORDS, records))
            messages = [str(offset).encode().ljust(message_bytes, b" ") for offset in offsets]
            log.append(
                [encode_batch(messages, log_id=log.log_id, epoch=log.epoch, time_ms=1_000_000, previous=log.end)]
            )
    finally:
        log.close()
