"""The log on one node's disk: SQLite, one row per batch, every commit on disk before it returns.

Plain blocking code: one thread owns the :class:`Log` and writes. Readers are in ``log_reader``.
"""

import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Final, Self

from replicated_log.storage import key_index
from replicated_log.storage.checkpoint import Checkpointer, checkpoint, outwait_readers
from replicated_log.storage.directory_lock import holding
from replicated_log.storage.log_reader import LogReader, database, naming_damage
from replicated_log.storage.schema import connect, initialise, room_for_journal_index, set_meta, sync_directory
from replicated_log.storage.wal_check import PAGE_BYTES, refuse_damaged_journal
from replicated_log.wire.batch import START, Batch, Position
from replicated_log.wire.errors import DiskFullError

_CHECKED_AT_OPEN: Final = 1000
"""Batches at the log's end whose contiguity, checksums and chains are verified each time it is opened."""
_LONG_JOURNAL_BYTES: Final = 8 << 20
"""A checkpoint is due once this much was appended to SQLite's journal: see :attr:`Log.journal_is_long`."""
_JOURNAL_BYTES: Final = 2 * _LONG_JOURNAL_BYTES
"""Once this much was, because no checkpointer runs or the disk does not keep up, the commit itself checkpoints."""
_OVERLONG_JOURNAL_BYTES: Final = 2 * _JOURNAL_BYTES
"""The journal gets this long when readers, which keep it from beginning anew, never pause; then a commit waits."""
_READERS_MS: Final = 20
"""How long it waits for readers: a slice takes a few milliseconds. A longer read, as a check's, is not waited for."""
_COMMIT_JOURNAL_BYTES: Final = 2 * PAGE_BYTES
"""What a commit adds to the journal beyond its batches: pages that they fill in part, and those above in the tree."""
_KEY_JOURNAL_BYTES: Final = 3 * PAGE_BYTES
"""What a key adds: the pages of the table and of its index for the new row, and for the row deleted in its place."""

_UNLOCKED: Final = nullcontext()

_INSERT: Final = "INSERT INTO batches VALUES"
_ROW: Final = "(?, ?, ?, ?)"
_FEW_ROWS: Final = 16
_FEW_BYTES: Final = 256 << 10
"""Up to so many batches are committed by one statement. Each number of rows has its own, which keeps its last rows."""


class Log:
    """The one writer of a node's log.

    Invariant: the stored batches are contiguous from offset 0, each follows the one before it by its chain, and
    ``end`` is where the last one ends. Everything below ``end`` is on disk, and its last keys are in the index.

    ``disk_id`` is random and names this data directory; ``log_id`` is None until a log is created or adopted;
    ``epoch`` is the highest reign this disk has opened (master) or stored a batch of (secondary), 0 for none.
    """

    def __init__(
        self,
        directory: Path,
        connection: sqlite3.Connection,
        database_file: int,
        end: Position,
        held: ExitStack,
        alone: AbstractContextManager[object],
    ) -> None:
        self.directory = directory
        self.end = end
        self._connection = connection
        self._database_file = database_file
        self._alone = alone
        self._in_journal = 0
        reader = LogReader(connection)
        self._last_key = reader.last_key()
        identity = reader.identity()
        self.disk_id = identity.disk_id
        self.log_id = identity.log_id
        self.epoch = identity.epoch
        # Last of all: until here, the caller closes what is held when something is raised.
        self._held = held.pop_all()

    @classmethod
    def open(cls, directory: Path, node: str, alone: AbstractContextManager[object] = _UNLOCKED) -> Self:
        """Open, or create, the log of ``node`` in ``directory``, and hold the directory until :meth:`close`.

        ``alone`` is a lock if a checkpointer is to run beside the commits: SQLite does one checkpoint at a time.

        Raises LogInUseError, WrongLogError, CorruptLogError, or OSError and sqlite3.Error from below.
        """
        directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            held.enter_context(holding(directory, node))
            refuse_damaged_journal(directory)
            # Closing these files releases the locks that SQLite has on them: never while it has them open.
            files = held.enter_context(ExitStack())
            connection = held.enter_context(closing(connect(directory)))
            with naming_damage():
                initialise(connection, node)
            # Also when the log is not new: its first process may have been killed before it came to this.
            sync_directory(directory)
            files.enter_context(room_for_journal_index(directory))
            database_file = files.enter_context(database(directory).open("rb")).fileno()
            # A journal that had become longer gives the room back when it begins anew.
            connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES}")
            # What a killed process has written can be read, but may not be on disk yet.
            checkpoint(connection)
            end = LogReader(connection).verified_end(_CHECKED_AT_OPEN)
            return cls(directory, connection, database_file, end, held, alone)

    def close(self) -> None:
        self._held.close()

    def begin_reign(self) -> int:
        """Take the next epoch, and make a new log where there is none. Both are on disk on return.

        Raises DiskFullError.
        """
        log_id = self.log_id or secrets.token_hex(16)
        with self._transaction():
            set_meta(self._connection, "log_id", log_id)
            set_meta(self._connection, "epoch", self.epoch + 1)
        self.log_id = log_id
        self.epoch += 1
        return self.epoch

    def adopt(self, log_id: str) -> None:
        """Make this the log that a master created, as :meth:`append` does beside storing batches of it."""
        self.append((), adopt=log_id)

    def raise_epoch(self, epoch: int) -> None:
        """Let the next reign begin above ``epoch``, as :meth:`append` does beside storing batches."""
        self.append((), epoch=epoch)

    def append(self, batches: Sequence[Batch], *, adopt: str | None = None, epoch: int = 0) -> None:
        """Store consecutive batches in one commit; they are on disk on return.

        In the same commit, ``adopt`` becomes the log's id (there must be no record of another log here; its epochs are
        forgotten), and ``epoch`` the highest one seen, if it is. The caller has verified that the batches follow this
        log's end.

        Raises DiskFullError when the disk has no room; then nothing was stored. Any other error leaves unknown what is
        on disk: the process must end and open the log anew.
        """
        log_id = adopt or self.log_id
        assert log_id == self.log_id or self.end == START
        end, epoch = self.end, max(epoch, self.epoch if log_id == self.log_id else 0)
        for batch in batches:
            assert (batch.log_id, batch.first_offset) == (log_id, end.offset)
            end, epoch = batch.end, max(epoch, batch.epoch)
        keyed_appends = [append for batch in batches for append in batch.keyed_appends]
        rows = [(batch.first_offset, batch.count, batch.chain, batch.data) for batch in batches]
        size = sum(len(batch.data) for batch in batches)
        is_small = 0 < len(rows) <= _FEW_ROWS and size <= _FEW_BYTES
        if is_small and not keyed_appends and (log_id, epoch) == (self.log_id, self.epoch):
            self._insert_few(rows)
        else:
            with self._transaction():
                if log_id is not None and log_id != self.log_id:
                    set_meta(self._connection, "log_id", log_id)
                self._connection.executemany(f"{_INSERT} {_ROW}", rows)
                if keyed_appends:
                    key_index.remember(self._connection, self._last_key, keyed_appends)
                if epoch != self.epoch:
                    set_meta(self._connection, "epoch", epoch)
        self.log_id, self.end, self.epoch = log_id, end, epoch
        self._last_key += len(keyed_appends)
        self._in_journal += _COMMIT_JOURNAL_BYTES + size
        self._in_journal += len(keyed_appends) * _KEY_JOURNAL_BYTES
        if self._in_journal >= _JOURNAL_BYTES:
            self.checkpoint()

    @property
    def journal_is_long(self) -> bool:
        """True when it is time for a checkpointer to copy what it can, and then for :meth:`checkpoint`.

        Where nobody does both, an append now and then does the whole checkpoint, and takes many times as long.
        """
        return self._in_journal >= _LONG_JOURNAL_BYTES

    def checkpointer(self) -> Checkpointer:
        """A new one for this log, for a thread of its own. Close it before the log."""
        connections = connect(self.directory), connect(self.directory)
        return Checkpointer(*connections, self._database_file, database(self.directory), self._alone)

    def checkpoint(self) -> None:
        """Move what is left in SQLite's journal to the database, so that the next commit begins it anew.

        While a reader has been reading since before, the journal grows on instead; when it is overlong, this waits for
        readers. Raises as :meth:`append`, but no DiskFullError: without room, the journal becomes longer.
        """
        with self._alone:
            journal_bytes = checkpoint(self._connection)
            if journal_bytes is None:
                return
            self._in_journal = 0
            if journal_bytes >= _OVERLONG_JOURNAL_BYTES:
                outwait_readers(self._connection, _READERS_MS)

    def _insert_few(self, rows: Sequence[tuple[int, int, bytes, bytes]]) -> None:
        """Commit rows, and nothing else, by one statement: it is a transaction by itself.

        Most commits are like this. Each call of SQLite lets other threads run, and may wait for them; so one is best.
        """
        with self._refusing_when_full():
            values = [value for row in rows for value in row]
            self._connection.execute(f"{_INSERT} {', '.join([_ROW] * len(rows))}", values)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._refusing_when_full():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    @contextmanager
    def _refusing_when_full(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise DiskFullError(f"no room for the log in {self.directory}") from error
            raise
