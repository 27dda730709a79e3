"""Reading and verifying a log on disk, beside its writer or without one.

A reader does not wait for commits, nor a commit for readers (SQLite's write-ahead journal; a reader never checkpoints).
But when readers never pause, now and then a commit waits some milliseconds, so that the journal begins anew.
"""

import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from replicated_log.storage import key_index
from replicated_log.wire.batch import START, Batch, MalformedBatchError, Position, decode_batches
from replicated_log.wire.errors import CorruptLogError
from replicated_log.wire.idempotency import KeyedAppend

SQLITE_ERRORS: Final = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What reading a damaged file may raise: the second where SQLite quotes what it can't read."""

_INDEX: Final = "the index of keys: "
_DAMAGE: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_ERROR}


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose log this is: see :class:`replicated_log.storage.log.Log`."""

    node: str
    disk_id: str
    log_id: str | None
    epoch: int


@contextmanager
def naming_damage(what: str = "") -> Iterator[None]:
    """Raise CorruptLogError for offset 0 when SQLite finds damage in what is read: no record can be trusted then."""
    try:
        yield
    except SQLITE_ERRORS as error:
        if not is_damage(error):
            raise
        raise CorruptLogError(0, f"{what}{error}") from error


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
        """Raises CorruptLogError when a part is missing, or is of a wrong type."""
        with naming_damage():
            node, disk_id, log_id, epoch = (self.meta(key) for key in ("node", "disk_id", "log_id", "epoch"))
        if not isinstance(node, str) or not isinstance(disk_id, str) or not isinstance(epoch, int):
            raise CorruptLogError(0, "the log's identity is damaged")
        if log_id is not None and not isinstance(log_id, str):
            raise CorruptLogError(0, "the log's id is damaged")
        return Identity(node, disk_id, log_id, epoch)

    def read(self, from_offset: int, max_bytes: int, stop: int | None = None) -> list[Batch]:
        """The stored batches from the one that holds ``from_offset`` on: as many as ``max_bytes`` take, at least one.

        The one that reaches ``stop`` is the last. Empty only at the end of the log. Raises CorruptLogError rather than
        return a damaged batch.
        """
        batches: list[Batch] = []
        size = 0
        with closing(self._rows(from_offset)) as rows:
            expected = from_offset
            for batch in rows:
                if batch.first_offset > expected:
                    raise CorruptLogError(expected, "records are missing")
                expected = batch.end_offset
                if expected <= from_offset:
                    continue
                size += len(batch.data)
                if batches and size > max_bytes:
                    break
                batches.append(batch)
                if stop is not None and expected >= stop:
                    break
        return batches

    def chain_at(self, offset: int) -> bytes | None:
        """The chain at ``offset``; None when no batch ends there. Raises CorruptLogError."""
        end = self._end_before(offset)
        return end.chain if end.offset == offset else None

    def find_key(self, key: str) -> KeyedAppend | None:
        """The append that has this key, if it is among the last ones that have one. Raises CorruptLogError."""
        (found,) = self.find_keys([key])
        if isinstance(found, CorruptLogError):
            raise found
        return found

    def find_keys(self, keys: Sequence[str]) -> list[KeyedAppend | CorruptLogError | None]:
        """As :meth:`find_key`, for each key; where the log can't be read, the error stands in the append's place."""
        found: dict[str, KeyedAppend | CorruptLogError | None] = dict.fromkeys(keys)
        places: list[tuple[int, str]] = []
        for key in found:
            try:
                with naming_damage(_INDEX):
                    first_offset = key_index.find(self._connection, key)
                if first_offset is not None:
                    places.append((first_offset, key))
            except CorruptLogError as error:
                found[key] = error
        # In the order of the log, so that a batch that has many of them is read and decoded once.
        batch: Batch | None = None
        for first_offset, key in sorted(places):
            try:
                if batch is None or batch.end_offset <= first_offset:
                    batch = next(iter(self.read(first_offset, 1)), None)
                found[key] = _keyed_at(batch, first_offset, key)
            except CorruptLogError as error:
                found[key] = error
        return [found[key] for key in keys]

    def last_key(self) -> int:
        """The number of the log's last append that has a key; 0 without one. Raises CorruptLogError."""
        with naming_damage(_INDEX):
            return key_index.last_number(self._connection)

    def verified(self) -> Position:
        """Verify the whole log, byte by byte, and its index of keys; return where it ends. Raises CorruptLogError."""
        with self._snapshot():
            # A log of the first format has no keys, and no index of them.
            index = key_index.IndexCheck(self._connection, self.last_key()) if self.meta("format") != 1 else None
            end = self._verified(START, index.fault if index else lambda _: None)
            with naming_damage(_INDEX):
                fault = index.fault_at_end() if index else None
            if fault is not None:
                raise CorruptLogError(0, fault)
            return end

    def verified_end(self, last: int) -> Position:
        """Verify the ``last`` batches of the log, byte by byte, and return where it ends. Raises CorruptLogError."""
        return self._verified(
            self._end_before(self._first_of(last)), lambda batch: key_index.missing(self._connection, batch)
        )

    def _verified(self, position: Position, index_fault: Callable[[Batch], str | None]) -> Position:
        """Verify what follows ``position``, each batch's keys by ``index_fault``, and return where the log ends."""
        identity = self.identity()
        for batch in self._rows(position.offset):
            if batch.end_offset <= position.offset:
                continue
            if batch.first_offset != position.offset:
                raise CorruptLogError(position.offset, "records are missing")
            if not batch.follows(position):
                raise CorruptLogError(position.offset, "the batch does not follow the one before it")
            if batch.log_id != identity.log_id or batch.epoch > identity.epoch:
                raise CorruptLogError(position.offset, "the batch is not of this log and its epochs")
            with naming_damage(_INDEX):
                fault = index_fault(batch)
            if fault is not None:
                raise CorruptLogError(position.offset, fault)
            position = batch.end
        return position

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """See nothing of what is committed meanwhile."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK")

    def sound_end(self) -> Position:
        """Where the part of the log that is sound from its start on ends."""
        position = START
        try:
            for batch in self._rows(0):
                if not batch.follows(position):
                    break
                position = batch.end
        except CorruptLogError:
            pass
        return position

    def misbuilt(self) -> str | None:
        """What SQLite finds wrong in how its file is built, which reads may not notice; None when all is well."""
        fault = str(self._connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        return None if fault == "ok" else fault

    def _first_of(self, last: int) -> int:
        """The offset at which the ``last`` batches begin."""
        try:
            row = self._connection.execute(
                "SELECT first_offset FROM batches ORDER BY first_offset DESC LIMIT 1 OFFSET ?", (last - 1,)
            ).fetchone()
        except SQLITE_ERRORS as error:
            if not is_damage(error):
                raise
            raise CorruptLogError(self.sound_end().offset, str(error)) from error
        return int(row[0]) if row else 0

    def _end_before(self, offset: int) -> Position:
        """Where the last batch that begins before ``offset`` ends."""
        with closing(self._rows(offset - 1)) as rows:
            return next((batch.end for batch in rows), START) if offset > 0 else START

    def _rows(self, from_offset: int) -> Generator[Batch, None, None]:
        """Sound batches, from the one that holds ``from_offset``, or else the next one, on."""
        expected = max(from_offset, 0)
        is_first = True
        try:
            rows = self._connection.execute(
                "SELECT first_offset, count, chain, data FROM batches WHERE first_offset >="
                " coalesce((SELECT max(first_offset) FROM batches WHERE first_offset <= ?), 0) ORDER BY first_offset",
                (from_offset,),
            )
            for first_offset, count, chain, data in rows:
                try:
                    (batch,) = decode_batches(data)
                except (MalformedBatchError, ValueError, TypeError) as error:
                    raise CorruptLogError(first_offset, str(error)) from error
                if (batch.first_offset, batch.count, batch.chain) != (first_offset, count, chain):
                    raise CorruptLogError(first_offset, "the row and its batch disagree")
                if first_offset < expected and not is_first:
                    raise CorruptLogError(expected, "records of before come again")
                yield batch
                expected, is_first = batch.end_offset, False
        except SQLITE_ERRORS as error:
            if not is_damage(error):
                raise
            raise CorruptLogError(expected, str(error)) from error


def _keyed_at(batch: Batch | None, first_offset: int, key: str) -> KeyedAppend:
    for append in batch.keyed_appends if batch else ():
        if (append.key, append.first_offset) == (key, first_offset):
            return append
    raise CorruptLogError(first_offset, f"the index says that key {key!r} is there, and it is not")


def database(directory: Path) -> Path:
    return directory / "log.sqlite"


def is_damage(error: Exception) -> bool:
    """True when one of SQLITE_ERRORS says that SQLite's file is not as it was written.

    So does a statement of ours that SQLite can't make sense of, or an error text that can't be decoded.
    """
    if isinstance(error, sqlite3.Error) and hasattr(error, "sqlite_errorcode"):
        return error.sqlite_errorcode & 0xFF in _DAMAGE
    return not isinstance(error, sqlite3.ProgrammingError)
