"""Reading and verifying a log on disk, beside its writer or without one.

A reader neither waits for commits nor delays them (SQLite's write-ahead journal; a reader never checkpoints).
"""

import sqlite3
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from replicated_log.batch import START, Batch, MalformedBatchError, Position, decode_batches


class CorruptLogError(Exception):
    """Raised when stored bytes are not what was written. ``offset`` is the first record that can't be trusted."""

    def __init__(self, offset: int, fault: str) -> None:
        super().__init__(f"the log is corrupt at offset {offset}: {fault}")
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose log this is: see :class:`replicated_log.log.Log`."""

    node: str
    disk_id: str
    log_id: str | None
    epoch: int


class LogReader:
    """Reads a log. For one thread at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def open(cls, directory: Path) -> Self:
        """A reader of the log in ``directory``, which must have been created. Raises sqlite3.Error."""
        uri = f"{database(directory).absolute().as_uri()}?mode=ro"
        return cls(sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False))

    def close(self) -> None:
        self._connection.close()

    def meta(self, key: str) -> int | str | None:
        row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def identity(self) -> Identity:
        log_id = self.meta("log_id")
        return Identity(
            node=str(self.meta("node")),
            disk_id=str(self.meta("disk_id")),
            log_id=None if log_id is None else str(log_id),
            epoch=int(self.meta("epoch") or 0),
        )

    def read(self, from_offset: int, max_bytes: int) -> list[Batch]:
        """The stored batches from the one that holds ``from_offset`` on: as many as ``max_bytes`` take, at least one.

        Empty only at the end of the log. Raises CorruptLogError rather than return a damaged batch.
        """
        batches: list[Batch] = []
        size = 0
        rows = self._rows(from_offset)
        for batch in rows:
            if from_offset >= batch.end.offset:
                break
            size += len(batch.data)
            if batches and size > max_bytes:
                break
            if batches and batch.first_offset != batches[-1].end.offset:
                raise CorruptLogError(batches[-1].end.offset, "records are missing")
            batches.append(batch)
        rows.close()
        return batches

    def chain_at(self, offset: int) -> bytes | None:
        """The chain at ``offset``; None when no batch ends there."""
        position = self._end_before(offset)
        return position.chain if position.offset == offset else None

    def verified_end(self, last: int | None = None) -> Position:
        """Verify the last batches, all of them by default, byte by byte, and return where the log ends.

        Raises CorruptLogError.
        """
        position = START
        if last is not None:
            row = self._connection.execute(
                "SELECT first_offset FROM batches ORDER BY first_offset DESC LIMIT 1 OFFSET ?", (last,)
            ).fetchone()
            position = self._end_before(row[0]) if row else START
        for batch in self._rows(position.offset):
            if batch.first_offset != position.offset:
                raise CorruptLogError(position.offset, "records are missing")
            if not batch.follows(position):
                raise CorruptLogError(position.offset, "the batch does not follow the one before it")
            position = batch.end
        return position

    def _end_before(self, offset: int) -> Position:
        """Where the last batch that begins before ``offset`` ends."""
        row = self._connection.execute(
            "SELECT first_offset + count, chain FROM batches WHERE first_offset < ? ORDER BY first_offset DESC LIMIT 1",
            (offset,),
        ).fetchone()
        return Position(*row) if row else START

    def _rows(self, from_offset: int) -> Generator[Batch, None, None]:
        """Sound batches, from the one that holds ``from_offset``, or else the next one, on."""
        rows = self._connection.execute(
            "SELECT first_offset, count, chain, data FROM batches WHERE first_offset >="
            " coalesce((SELECT max(first_offset) FROM batches WHERE first_offset <= ?), 0) ORDER BY first_offset",
            (from_offset,),
        )
        for first_offset, count, chain, data in rows:
            try:
                (batch,) = decode_batches(data)
            except (MalformedBatchError, ValueError) as error:
                raise CorruptLogError(first_offset, str(error)) from error
            if (batch.first_offset, batch.count, batch.chain) != (first_offset, count, chain):
                raise CorruptLogError(first_offset, "the row and its batch disagree")
            yield batch


def database(directory: Path) -> Path:
    return directory / "log.sqlite"
