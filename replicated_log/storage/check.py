"""Verifying a log byte by byte, and finding where two logs differ."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from replicated_log.storage.log_reader import Identity, LogReader, database
from replicated_log.storage.wal_check import refuse_damaged_journal
from replicated_log.wire.batch import Position
from replicated_log.wire.errors import CorruptLogError

_SLICE_BYTES = 1 << 20


class NoLogError(Exception):
    """Raised when there is no log to check, or SQLite can't read it."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A log whose every byte is as it was written."""

    identity: Identity
    end: Position


def check(directory: Path) -> Checked:
    """Verify the whole log in ``directory``. Its node may be running.

    Raises CorruptLogError, naming the first offset that can't be trusted, or NoLogError.
    """
    with closing(_open(directory)) as reader:
        try:
            refuse_damaged_journal(directory)
            checked = Checked(reader.identity(), reader.verified())
            if (fault := reader.misbuilt()) is not None:
                raise CorruptLogError(checked.end.offset, fault)
        except sqlite3.Error as error:
            raise NoLogError(f"{directory}: {error}") from error
        return checked


def first_difference(one: Path, other: Path) -> int | None:
    """The offset of the first batch in which two verified logs differ; None when one is a prefix of the other."""
    with closing(_open(one)) as reader, closing(_open(other)) as second:
        offset = 0
        while (batches := reader.read(offset, _SLICE_BYTES)) and (others := second.read(offset, _SLICE_BYTES)):
            for batch, other_batch in zip(batches, others, strict=False):
                if batch.data != other_batch.data:
                    return batch.first_offset
                offset = batch.end.offset
    return None


def _open(directory: Path) -> LogReader:
    if not database(directory).exists():
        raise NoLogError(f"there is no log in {directory}")
    return LogReader.open(directory)
