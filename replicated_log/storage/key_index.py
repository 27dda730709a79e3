"""The index of idempotency keys: a table beside the batches, written in the same commit, that says where each key is.

A row says only where the append is; its batch says what it was, which verifies a row that is found. A row that is lost
to damage is noticed when the log is opened (for its last batches) or checked. Appends that have a key are numbered,
from the log's first one on, and the last REMEMBERED of them are in the table; so the table is the same on every node.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

from replicated_log.wire.batch import Batch
from replicated_log.wire.idempotency import KeyedAppend

REMEMBERED: Final = 1_000_000

SCHEMA: Final = """
CREATE TABLE keys (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    first_offset INTEGER NOT NULL
) STRICT;
"""


def last_number(connection: sqlite3.Connection) -> int:
    """The number of the log's last append that has a key; 0 without one."""
    return int(connection.execute("SELECT coalesce(max(number), 0) FROM keys").fetchone()[0])


def remember(connection: sqlite3.Connection, last: int, keyed_appends: Sequence[KeyedAppend]) -> None:
    """Put keys into the table, numbered from ``last`` + 1 on, and delete those before the last REMEMBERED.

    The caller has begun a transaction.
    """
    # A key may be used again once it was deleted here; then the append that used it last is the one to be found.
    rows = [(number, append.key, append.first_offset) for number, append in enumerate(keyed_appends, last + 1)]
    connection.executemany("INSERT OR REPLACE INTO keys VALUES (?, ?, ?)", rows)
    if (forgotten := last + len(keyed_appends) - REMEMBERED) > 0:
        connection.execute("DELETE FROM keys WHERE number <= ?", (forgotten,))


def find(connection: sqlite3.Connection, key: str) -> int | None:
    """The first offset of the append that has this key."""
    row = connection.execute("SELECT first_offset FROM keys WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None


def missing(connection: sqlite3.Connection, batch: Batch) -> str | None:
    """What is wrong with the rows of one of the last batches; None when nothing is."""
    for append in batch.keyed_appends:
        found = find(connection, append.key)
        if found is None or found < append.first_offset:  # A row that points further on: the key was used again.
            return f"the index does not have key {append.key!r}"
    return None


class IndexCheck:
    """Compares the table with all batches of the log, which are shown to it one after the other."""

    def __init__(self, connection: sqlite3.Connection, last: int) -> None:
        self._connection = connection
        self._last = last
        self._number = 0
        self._rows = 0

    def fault(self, batch: Batch) -> str | None:
        """What is wrong with the rows of the next batch; None when nothing is."""
        return next((fault for append in batch.keyed_appends if (fault := self._fault(append))), None)

    def fault_at_end(self) -> str | None:
        """What is wrong with the table as a whole; None when nothing is."""
        rows = self._connection.execute("SELECT count(*) FROM keys").fetchone()[0]
        if (rows, self._last) == (self._rows, self._number):
            return None
        return f"the index has {rows} keys up to number {self._last}, and should have {self._rows} up to {self._number}"

    def _fault(self, append: KeyedAppend) -> str | None:
        self._number += 1
        if self._number <= self._last - REMEMBERED:
            return None
        row = self._connection.execute("SELECT number, first_offset FROM keys WHERE key = ?", (append.key,)).fetchone()
        if row == (self._number, append.first_offset):
            self._rows += 1
            return None
        if row is not None and row[0] > self._number:
            return None  # The key was used again; its row is compared then.
        return f"the index has the wrong row, or none, for key {append.key!r}"
