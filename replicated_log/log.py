"""The log on one node's disk: SQLite, one row per batch, every commit on disk before it returns.

Plain blocking code. One thread owns the :class:`Log` and writes; readers have a :class:`LogReader` each, which
neither waits for commits nor delays them (write-ahead journal; it never checkpoints).
"""

import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final, Self

from replicated_log.batch import START, Batch, MalformedBatchError, Position, decode_batches
from replicated_log.directory_lock import holding

FORMAT: Final = 1
_CHECKED_AT_OPEN: Final = 1000
"""Batches at the log's end whose contiguity, checksums and chains are verified each time it is opened."""

_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT;
CREATE TABLE batches (
    first_offset INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    chain BLOB NOT NULL,
    data BLOB NOT NULL
) STRICT;
"""


class WrongLogError(Exception):
    """Raised by :meth:`Log.open`: what is in the directory belongs to another node, or to a newer program."""


class CorruptLogError(Exception):
    """Raised when stored bytes are not what was written. ``offset`` is the first record that can't be trusted."""

    def __init__(self, offset: int, fault: str) -> None:
        super().__init__(f"the log is corrupt at offset {offset}: {fault}")
        self.offset = offset


class DiskFullError(Exception):
    """Raised by :meth:`Log.append`: no room. Nothing of this append is stored, and the log can go on."""


class Log:
    """The one writer of a node's log.

    Invariant: the stored batches are contiguous from offset 0, each follows the one before it by its chain, and
    ``end`` is where the last one ends. Everything below ``end`` is on disk.

    ``disk_id`` is random and names this data directory; ``log_id`` is None until a log is created or adopted;
    ``epoch`` is the highest reign this disk has opened (master) or stored a batch of (secondary), 0 for none.
    """

    def __init__(self, directory: Path, connection: sqlite3.Connection, end: Position, held: ExitStack) -> None:
        self.directory = directory
        self.end = end
        self._connection = connection
        self._held = held
        self.disk_id = str(self._meta("disk_id"))
        self.log_id = _text_or_none(self._meta("log_id"))
        epoch = self._meta("epoch")
        self.epoch = epoch if isinstance(epoch, int) else 0

    @classmethod
    def open(cls, directory: Path, node: str) -> Self:
        """Open, or create, the log of ``node`` in ``directory``, and hold the directory until :meth:`close`.

        Raises LogInUseError, WrongLogError, CorruptLogError, or OSError and sqlite3.Error from below.
        """
        directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            held.enter_context(holding(directory, node))
            connection = held.enter_context(closing(_connect(directory)))
            _initialise(connection, node)
            return cls(directory, connection, _verified_end(connection), held.pop_all())

    def close(self) -> None:
        self._held.close()

    def begin_reign(self) -> int:
        """Take the next epoch, and make a new log where there is none. Both are on disk on return."""
        with self._transaction():
            if self.log_id is None:
                self._set_meta("log_id", secrets.token_hex(16))
            self._set_meta("epoch", self.epoch + 1)
        self.log_id = str(self._meta("log_id"))
        self.epoch += 1
        return self.epoch

    def adopt(self, log_id: str) -> None:
        """Make this the log that a master created. On disk on return. There must be no other log here."""
        assert self.log_id == log_id or (self.log_id is None and self.end == START)
        with self._transaction():
            self._set_meta("log_id", log_id)
        self.log_id = log_id

    def raise_epoch(self, epoch: int) -> None:
        """Let the next reign begin above ``epoch``, wherever that was seen. On disk on return."""
        if epoch > self.epoch:
            with self._transaction():
                self._set_meta("epoch", epoch)
            self.epoch = epoch

    def append(self, batches: Sequence[Batch]) -> None:
        """Store consecutive batches in one commit; they are on disk on return.

        The caller has verified that they follow this log's end. Raises DiskFullError when nothing was stored for
        want of room. Any other error leaves unknown what is on disk: the process must end and open the log anew.
        """
        end, epoch = self.end, self.epoch
        for batch in batches:
            assert (batch.log_id, batch.first_offset) == (self.log_id, end.offset)
            end, epoch = batch.end, max(epoch, batch.epoch)
        with self._transaction():
            self._connection.executemany(
                "INSERT INTO batches VALUES (?, ?, ?, ?)",
                [(batch.first_offset, batch.count, batch.chain, batch.data) for batch in batches],
            )
            if epoch != self.epoch:
                self._set_meta("epoch", epoch)
        self.end, self.epoch = end, epoch

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error) and error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise DiskFullError(f"no room for the log in {self.directory}") from error
            raise

    def _meta(self, key: str) -> object:
        return _meta(self._connection, key)

    def _set_meta(self, key: str, value: int | str) -> None:
        _set_meta(self._connection, key, value)


class LogReader:
    """Reads a log beside its writer. For one thread at a time."""

    def __init__(self, directory: Path) -> None:
        """The log must have been created. Raises sqlite3.Error."""
        uri = f"{_database(directory).absolute().as_uri()}?mode=ro"
        self._connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)

    def close(self) -> None:
        self._connection.close()

    def read(self, from_offset: int, max_bytes: int) -> list[Batch]:
        """The stored batches from the one that holds ``from_offset`` on: as many as ``max_bytes`` take, at least one.

        Empty only at the end of the log. Raises CorruptLogError rather than return a damaged batch.
        """
        rows = self._connection.execute(
            "SELECT first_offset, data FROM batches WHERE first_offset >="
            " (SELECT max(first_offset) FROM batches WHERE first_offset <= ?) ORDER BY first_offset",
            (from_offset,),
        )
        batches: list[Batch] = []
        size = 0
        for first_offset, data in rows:
            size += len(data)
            if batches and size > max_bytes:
                break
            batch = _sound(first_offset, data)
            if not batches and from_offset >= batch.end.offset:
                break
            if batches and batch.first_offset != batches[-1].end.offset:
                raise CorruptLogError(batches[-1].end.offset, "records are missing")
            batches.append(batch)
        rows.close()
        return batches

    def chain_at(self, offset: int) -> bytes | None:
        """The chain at ``offset``; None when no batch ends there."""
        if offset == START.offset:
            return START.chain
        row = self._connection.execute(
            "SELECT first_offset + count, chain FROM batches WHERE first_offset < ? ORDER BY first_offset DESC LIMIT 1",
            (offset,),
        ).fetchone()
        return row[1] if row is not None and row[0] == offset else None


def _database(directory: Path) -> Path:
    return directory / "log.sqlite"


def _connect(directory: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(_database(directory), isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    settings = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    if settings != ["wal", 2]:
        connection.close()
        raise WrongLogError(f"{directory}: SQLite will not write durably here: {settings}")
    return connection


def _initialise(connection: sqlite3.Connection, node: str) -> None:
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        connection.executescript(f"BEGIN; {_SCHEMA}")
        _set_meta(connection, "format", FORMAT)
        _set_meta(connection, "node", node)
        _set_meta(connection, "disk_id", secrets.token_hex(16))
        _set_meta(connection, "epoch", 0)
        connection.execute("COMMIT")
    if (found := _meta(connection, "format")) != FORMAT:
        raise WrongLogError(f"the log has format {found}; this program knows {FORMAT}")
    if (owner := _meta(connection, "node")) != node:
        raise WrongLogError(f"the log belongs to node {owner!r}, not to {node!r}")


def _verified_end(connection: sqlite3.Connection) -> Position:
    """Verify the log's tail, batch by batch, and return where it ends."""
    rows = connection.execute(
        "SELECT * FROM (SELECT * FROM batches ORDER BY first_offset DESC LIMIT ?) ORDER BY first_offset",
        (_CHECKED_AT_OPEN + 1,),
    )
    position: Position | None = None
    for first_offset, count, chain, data in rows:
        batch = _sound(first_offset, data)
        if (batch.first_offset, batch.count, batch.chain) != (first_offset, count, chain):
            raise CorruptLogError(first_offset, "the row and its batch disagree")
        if position is None:
            position = START if first_offset == 0 else Position(first_offset, b"")
        if position.offset != first_offset:
            raise CorruptLogError(position.offset, "records are missing")
        if (position.chain or first_offset == 0) and not batch.follows(position):
            raise CorruptLogError(first_offset, "the batch does not follow the one before it")
        position = batch.end
    return position or START


def _sound(first_offset: int, data: bytes) -> Batch:
    try:
        (batch,) = decode_batches(data)
    except (MalformedBatchError, ValueError) as error:
        raise CorruptLogError(first_offset, str(error)) from error
    return batch


def _meta(connection: sqlite3.Connection, key: str) -> object:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None


def _set_meta(connection: sqlite3.Connection, key: str, value: int | str) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)
