"""Checkpoints: what SQLite's journal holds is moved to the database, so that the journal can begin anew.

Most of the work can be done beside the thread that commits, and the rest takes little more than a sync.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from replicated_log.storage.wal_check import FRAME_BYTES


class Checkpointer:
    """Copies a log's journal to its database while commits go on. For one thread at a time.

    Commits that end meanwhile stay in the journal, which grows until :func:`checkpoint` runs between two of them.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        reading: sqlite3.Connection,
        database_file: int,
        database: Path,
        alone: AbstractContextManager[object],
    ) -> None:
        self._connection = connection
        self._reading = reading
        self._database_file = database_file
        self._database = database
        self._alone = alone
        self._connection.execute("PRAGMA synchronous = FULL")
        # Some versions of SQLite see no journal before they have read something.
        self._connection.execute("SELECT 1 FROM meta").fetchone()

    def close(self) -> None:
        self._connection.close()
        self._reading.close()

    def copy(self) -> None:
        """Copy what has been committed by now, as far as no reader needs what it replaces, and sync it.

        Nothing is lost when the disk has no room for it. Raises sqlite3.Error and OSError, which leave unknown what is
        on disk: the process must end, and open the log anew.
        """
        with self._alone, self._no_new_beginning():
            checkpoint(self._connection)
        # SQLite syncs the database only in a checkpoint that leaves nothing in the journal.
        try:
            os.fdatasync(self._database_file)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._database)) from error

    @contextmanager
    def _no_new_beginning(self) -> Iterator[None]:
        """Read meanwhile: so no commit begins the journal anew, or, where one may, SQLite copies nothing.

        Before 3.51.3, SQLite may do both at once, and then takes what was committed meanwhile for copied:
        https://www.sqlite.org/wal.html#walresetbug
        """
        self._reading.execute("BEGIN")
        try:
            self._reading.execute("SELECT 1 FROM meta").fetchone()
            yield
        finally:
            self._reading.execute("ROLLBACK")


def checkpoint(connection: sqlite3.Connection) -> int | None:
    """Sync SQLite's journal and move it to the database, as far as no reader needs what it replaces.

    Return how many bytes of the journal are in use; None when the disk has no room, which harms nothing.
    SQLite could checkpoint by itself, but then it hides a failure to write or to sync, and tries again.
    """
    return _checkpoint(connection, "PASSIVE")


def outwait_readers(connection: sqlite3.Connection, patience_ms: int) -> None:
    """As :func:`checkpoint`, and let the next commit begin the journal anew, if all readers end in ``patience_ms``.

    A reader that begins once everything is copied reads the database, and is not waited for.
    """
    (before_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute(f"PRAGMA busy_timeout = {patience_ms}")
    _checkpoint(connection, "RESTART")
    connection.execute(f"PRAGMA busy_timeout = {before_ms}")


def _checkpoint(connection: sqlite3.Connection, mode: str) -> int | None:
    try:
        ((_, frames, _),) = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
            raise
        return None
    return int(frames) * FRAME_BYTES
