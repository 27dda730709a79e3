"""A log and the two threads it runs on: one commits, one reads, and neither waits for the other."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

from replicated_log.batch import Batch
from replicated_log.log import Log
from replicated_log.log_reader import LogReader

SLICE_BYTES: Final = 1 << 20
"""A reader takes at most this much at a time, so that readers of the whole log share the thread fairly."""

T = TypeVar("T")


class LogThread:
    """``log`` may be looked at anywhere; its methods are called here, on its own thread."""

    def __init__(
        self, log: Log, reader: LogReader, committing: ThreadPoolExecutor, reading: ThreadPoolExecutor
    ) -> None:
        self.log = log
        self._reader = reader
        self._committing = committing
        self._reading = reading

    async def append(self, batches: Sequence[Batch], *, adopt: str | None = None) -> None:
        """As :meth:`Log.append`. Not to be abandoned half-way: when the caller is cancelled, the commit still ends."""
        await self._on(self._committing, lambda: self.log.append(batches, adopt=adopt))

    async def begin_reign(self) -> int:
        return await self._on(self._committing, self.log.begin_reign)

    async def read(self, from_offset: int, max_bytes: int = SLICE_BYTES) -> list[Batch]:
        return await self._on(self._reading, lambda: self._reader.read(from_offset, max_bytes))

    async def chain_at(self, offset: int) -> bytes | None:
        return await self._on(self._reading, lambda: self._reader.chain_at(offset))

    async def _on(self, thread: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(thread, call)


@asynccontextmanager
async def open_log(directory: Path, node: str) -> AsyncIterator[LogThread]:
    """Open the log as :meth:`Log.open` does, and close it after the last commit has ended."""
    with ThreadPoolExecutor(1, "log-commit") as committing, ThreadPoolExecutor(1, "log-read") as reading:
        log = committing.submit(Log.open, directory, node).result()
        try:
            reader = LogReader.open(directory)
            try:
                yield LogThread(log, reader, committing, reading)
            finally:
                reading.submit(reader.close).result()
        finally:
            committing.submit(log.close).result()
