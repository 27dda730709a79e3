"""SQLite's file that a log is in: how it is made, opened, and looked at before it is trusted."""

import errno
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from replicated_log.storage import key_index
from replicated_log.storage.log_reader import LogReader, database
from replicated_log.wire.errors import CorruptLogError, WrongLogError

FORMAT: Final = 2
_WITHOUT_KEYS: Final = 1
"""The format before there were idempotency keys; such a log gets their table when it is opened."""
_JOURNAL_INDEX_BYTES: Final = 256 << 10
"""The room that SQLite's index of its journal takes for a journal of 128 MiB, far beyond two checkpoints."""
_SCHEMA: Final = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT;
CREATE TABLE batches (
    first_offset INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    chain BLOB NOT NULL,
    data BLOB NOT NULL
) STRICT;
{key_index.SCHEMA}
"""


def connect(directory: Path) -> sqlite3.Connection:
    """A connection for one thread at a time; each statement is a transaction, unless one was begun."""
    return sqlite3.connect(database(directory), isolation_level=None, check_same_thread=False)


def initialise(connection: sqlite3.Connection, node: str) -> None:
    """Check that SQLite writes durably, that it knows the log's format, and that ``node`` owns it; or make a new log.

    Raises WrongLogError, CorruptLogError or sqlite3.Error.
    """
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    settings = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    if settings != ["wal", 2]:
        raise WrongLogError(f"SQLite will not write durably here: {settings}")
    schema = _schema(connection)
    if not schema and connection.execute("PRAGMA page_count").fetchone()[0] <= 1:
        connection.executescript(f"BEGIN; {_SCHEMA}")
        set_meta(connection, "format", FORMAT)
        set_meta(connection, "node", node)
        set_meta(connection, "disk_id", secrets.token_hex(16))
        set_meta(connection, "epoch", 0)
        connection.execute("COMMIT")
    elif schema != _expected_schema():
        raise CorruptLogError(0, "the schema is not as it was written")
    reader = LogReader(connection)
    if (found := reader.meta("format")) is None:
        raise CorruptLogError(0, "its format is missing")
    if found not in {FORMAT, _WITHOUT_KEYS}:
        raise WrongLogError(f"the log has format {found}; this program knows {FORMAT}")
    if (owner := reader.identity().node) != node:
        raise WrongLogError(f"the log belongs to node {owner!r}, not to {node!r}")
    if found == _WITHOUT_KEYS:
        connection.executescript(f"BEGIN; {key_index.SCHEMA}")
        set_meta(connection, "format", FORMAT)
        connection.execute("COMMIT")


def _schema(connection: sqlite3.Connection) -> set[tuple[object, ...]]:
    """The tables that every log has, and where their trees begin."""
    return set(
        connection.execute("SELECT name, rootpage, sql FROM sqlite_master WHERE tbl_name IN ('meta', 'batches')")
    )


def _expected_schema() -> set[tuple[object, ...]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(_SCHEMA)
        return _schema(connection)


@contextmanager
def room_for_journal_index(directory: Path) -> Iterator[None]:
    """Reserve room for SQLite's index of its journal, if the disk has any.

    Otherwise SQLite asks for that room while it writes a commit. On a full disk it then says that there was an I/O
    error, which leaves unknown whether the commit is on disk. The file stays open meanwhile.
    """
    with (directory / f"{database(directory).name}-shm").open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, _JOURNAL_INDEX_BYTES)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
        yield


def sync_directory(directory: Path) -> None:
    """Put the names of the directory and its parents on disk: without them, what is in the directory can't be found."""
    for path in (directory, *directory.absolute().parents):
        try:
            file = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except PermissionError:
            return
        try:
            os.fsync(file)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
        finally:
            os.close(file)


def set_meta(connection: sqlite3.Connection, key: str, value: int | str) -> None:
    """To be read by :meth:`LogReader.meta`."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
