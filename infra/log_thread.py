"""A log and the threads it runs on: one commits, one reads for the protocol, one reads for clients.

None waits for another, so that whoever reads the whole log delays neither an append nor a copy.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

from infra.process import first_leaf
from replicated_log.batch import Batch, Record
from replicated_log.log import Log
from replicated_log.log_reader import LogReader

SLICE_BYTES: Final = 1 << 20
SLICE_RECORDS: Final = 2000
"""What is read for a client in one go, so that clients share the thread fairly, and the interpreter too."""

T = TypeVar("T")


class LogDiskError(OSError):
    """Raised in the place of an error of SQLite's, which does not say where: names it, and the data directory."""


class Threaded:
    """An object that lives on a thread of its own."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, name)

    async def call(self, function: Callable[[], T]) -> T:
        """Call it there. When the caller is cancelled, the call still ends."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def end(self, close: Callable[[], None]) -> None:
        """Call ``close`` after everything else, and end the thread."""
        self._thread.submit(close)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)


class LogThread:
    """``log`` may be looked at anywhere; its methods are called here, on its own thread."""

    def __init__(
        self,
        log: Log,
        committing: Threaded,
        protocol: tuple[LogReader, Threaded],
        clients: tuple[LogReader, Threaded],
    ) -> None:
        self.log = log
        self._committing = committing
        self._protocol_reader, self._protocol = protocol
        self._client_reader, self._clients = clients

    async def append(self, batches: Sequence[Batch], *, adopt: str | None = None, epoch: int = 0) -> None:
        """As :meth:`Log.append`."""
        await self._committing.call(lambda: self.log.append(batches, adopt=adopt, epoch=epoch))

    async def begin_reign(self) -> int:
        return await self._committing.call(self.log.begin_reign)

    async def read(self, from_offset: int, max_bytes: int) -> list[Batch]:
        """As :meth:`LogReader.read`, for the protocol."""
        return await self._protocol.call(lambda: self._protocol_reader.read(from_offset, max_bytes))

    async def chain_at(self, offset: int) -> bytes | None:
        return await self._protocol.call(lambda: self._protocol_reader.chain_at(offset))

    async def batches(self, from_offset: int, max_bytes: int) -> list[Batch]:
        """As :meth:`LogReader.read`, for a client."""
        return await self._clients.call(lambda: self._client_reader.read(from_offset, max_bytes))

    async def records(self, start: int, stop: int, shape: Callable[[list[Record]], T]) -> tuple[int, T]:
        """Some records from ``start`` on, below ``stop``, as ``shape`` makes them; and where the next ones begin.

        At least one, if there is one; ``shape`` is called on the reading thread. Raises CorruptLogError.
        """
        stop = min(stop, start + SLICE_RECORDS)

        def read() -> tuple[int, T]:
            batches = self._client_reader.read(start, SLICE_BYTES)
            records = [record for batch in batches for record in batch.records(start, stop)]
            return start + len(records), shape(records)

        return await self._clients.call(read)


@asynccontextmanager
async def open_log(directory: Path, node: str) -> AsyncIterator[LogThread]:
    """Open the log as :meth:`Log.open` does, and close it after the last commit has ended.

    An error of SQLite's that leaves the context does so as a LogDiskError.
    """
    try:
        async with AsyncExitStack() as opened:
            committing = Threaded("log-commit")
            log = await committing.call(lambda: Log.open(directory, node))
            opened.push_async_callback(committing.end, log.close)
            readers = []
            for name in ("log-protocol", "log-clients"):
                reader, thread = LogReader.open(directory), Threaded(name)
                opened.push_async_callback(thread.end, reader.close)
                readers.append((reader, thread))
            yield LogThread(log, committing, *readers)
    except* sqlite3.Error as group:
        error = first_leaf(group)
        raise LogDiskError(f"{error} ({getattr(error, 'sqlite_errorname', 'no code')}) in {directory}") from error
