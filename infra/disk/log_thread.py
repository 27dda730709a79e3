"""A log and the threads it runs on: one commits, one works off SQLite's journal, and three read.

Of the readers one is for the protocol, one looks up keys, one is for clients. None waits for another: so a client that
reads the whole log delays neither an append nor a secondary, and a secondary that catches up delays no append that has
a key.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from threading import Lock
from typing import Final, TypeVar

from infra.aio.offset_watch import OffsetWatch
from infra.aio.tasks import first_leaf
from infra.disk.threaded import Threaded
from replicated_log.storage.checkpoint import Checkpointer
from replicated_log.storage.log import Log
from replicated_log.storage.log_reader import LogReader
from replicated_log.wire.batch import Batch, Records
from replicated_log.wire.errors import CorruptLogError
from replicated_log.wire.idempotency import KeyedAppend

SLICE_BYTES: Final = 1 << 20
SLICE_RECORDS: Final = 2000
"""At most so much is read for a client in one go, so that clients share the thread fairly, and the interpreter too."""

SLICE_KEYS: Final = 64
"""So many keys at most are looked up in one go, each perhaps in a batch of its own: the next ones wait no longer."""

T = TypeVar("T")


class LogDiskError(OSError):
    """Raised in the place of an error of SQLite's, which does not say where: this one names the data directory too."""


class LogThread:
    """A log on its threads: only the committing one calls methods of ``log``, whose attributes may be read anywhere.

    ``on_disk`` watches where the log ends.
    """

    def __init__(
        self,
        log: Log,
        committing: Threaded,
        checkpoints: tuple[Checkpointer, Threaded],
        protocol: tuple[LogReader, Threaded],
        keys: tuple[LogReader, Threaded],
        clients: tuple[LogReader, Threaded],
    ) -> None:
        self.log = log
        self.on_disk = OffsetWatch(lambda: log.end.offset)
        self._committing = committing
        self._checkpointer, self._checkpoints = checkpoints
        self._journal_is_long = asyncio.Event()
        self._protocol_reader, self._protocol = protocol
        self._key_reader, self._keys = keys
        self._client_reader, self._clients = clients

    def append(
        self,
        batches: Sequence[Batch],
        done: Callable[[float], None],
        failed: Callable[[BaseException], None],
        *,
        adopt: str | None = None,
        epoch: int = 0,
    ) -> None:
        """Begin to do as :meth:`Log.append`. ``done`` is given the seconds that it took, ``failed`` what it raised."""

        def append() -> float:
            begin = time.perf_counter()
            self.log.append(batches, adopt=adopt, epoch=epoch)
            return time.perf_counter() - begin

        def appended(took_s: float) -> None:
            if self.log.journal_is_long:
                self._journal_is_long.set()
            self.on_disk.moved()
            done(took_s)

        self._committing.begin(append, appended, failed)

    async def work_off_journal(self) -> None:
        """Keep SQLite's journal short beside the appends, which otherwise do so themselves now and then. Never returns.

        Raises sqlite3.Error or OSError as an append does; then the process must end.
        """
        while True:
            await self._journal_is_long.wait()
            # The second copy takes what was committed during the first, in a fraction of its time, and leaves less.
            for _ in range(2):
                await self._checkpoints.call(self._checkpointer.copy)
            await self._committing.call(self.log.checkpoint)
            self._journal_is_long.clear()

    async def reached(self, offset: int) -> None:
        """Return when this log holds the record at ``offset``. The wait may be cancelled; thousands may wait."""
        await self.on_disk.passed(offset)

    async def begin_reign(self) -> int:
        return await self._committing.call(self.log.begin_reign)

    async def read(self, from_offset: int, max_bytes: int) -> list[Batch]:
        """As :meth:`LogReader.read`, for the protocol."""
        return await self._protocol.call(lambda: self._protocol_reader.read(from_offset, max_bytes))

    async def chain_at(self, offset: int) -> bytes | None:
        return await self._protocol.call(lambda: self._protocol_reader.chain_at(offset))

    async def find_keys(self, keys: Sequence[str]) -> list[KeyedAppend | CorruptLogError | None]:
        """As :meth:`LogReader.find_keys`; SLICE_KEYS at most."""
        assert len(keys) <= SLICE_KEYS
        return await self._keys.call(lambda: self._key_reader.find_keys(keys))

    async def batches(self, from_offset: int, max_bytes: int) -> list[Batch]:
        """As :meth:`LogReader.read`, for a client."""
        return await self._clients.call(lambda: self._client_reader.read(from_offset, max_bytes))

    async def records(self, start: int, stop: int, shape: Callable[[list[Records]], T]) -> tuple[int, T]:
        """The offset where the next slice begins, and what ``shape`` makes of some records from ``start`` to ``stop``.

        At least one record, if there is one; ``shape`` is called on the reading thread. Raises CorruptLogError.
        """
        stop = min(stop, start + SLICE_RECORDS)

        def read() -> tuple[int, T]:
            batches = self._client_reader.read(start, SLICE_BYTES, stop)
            records = [batch.records(start, stop) for batch in batches]
            return start + sum(len(one.messages) for one in records), shape(records)

        return await self._clients.call(read)


@asynccontextmanager
async def open_log(directory: Path, node: str) -> AsyncIterator[LogThread]:
    """Open the log as :meth:`Log.open` does, and close it after the last commit has ended.

    An error of SQLite's that leaves the context does so as a LogDiskError.
    """
    try:
        async with AsyncExitStack() as opened:
            committing = Threaded("log-commit")
            log = await committing.call(lambda: Log.open(directory, node, alone=Lock()))
            opened.push_async_callback(committing.end, log.close)
            checkpointer, checkpoints = log.checkpointer(), Threaded("log-checkpoint")
            opened.push_async_callback(checkpoints.end, checkpointer.close)
            readers = []
            for name in ("log-protocol", "log-keys", "log-clients"):
                reader, thread = LogReader.open(directory), Threaded(name)
                opened.push_async_callback(thread.end, reader.close)
                readers.append((reader, thread))
            yield LogThread(log, committing, (checkpointer, checkpoints), *readers)
    except* sqlite3.Error as group:
        error = first_leaf(group)
        raise LogDiskError(f"{error} ({getattr(error, 'sqlite_errorname', 'no code')}) in {directory}") from error
