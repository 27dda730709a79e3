"""A node's log, as its readers see it: where it ends, and waiting for more."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from infra.aio.offset_watch import OffsetWatch
from infra.disk.log_thread import LogThread
from infra.http.long_requests import LongRequests, stopping
from infra.http.problems import HttpProblem
from node.http.reading.query import ReadQuery

MAX_WAITING: Final = 1000
MAX_STREAMS: Final = 500
"""Each holds a slice of the log, 1 MiB or so, while its reader takes its time."""


@dataclass(frozen=True, slots=True)
class View:
    """The log at one moment: where it ends, up to where it is committed, and how much of it a reader may see.

    ``headers`` are those of every answer; a node that has no log yet says only where it ends.
    """

    end_offset: int
    committed_end: int
    shown_end: int
    headers: Mapping[str, str]

    def place(self, start: int) -> int:
        """The offset meant by ``start``, which counts from the end of what is shown when it is negative."""
        return start if start >= 0 else max(0, self.shown_end + start)


class Readable:
    """``committed`` is the end of what a majority holds, as far as this node knows: perhaps too low, never too high."""

    def __init__(self, log: LogThread, committed: OffsetWatch) -> None:
        self.log = log
        self.committed = committed
        self.waiting = LongRequests("readers waiting for records to come", MAX_WAITING)
        self.streams = LongRequests("readers of streams", MAX_STREAMS)

    def shown(self, query: ReadQuery) -> OffsetWatch:
        """The end of what this reader may see."""
        return self.committed if query.committed else self.log.on_disk

    def view(self, query: ReadQuery) -> View:
        end_offset = self.log.on_disk.offset
        committed_end = min(self.committed.offset, end_offset)
        headers = {"Cache-Control": "no-store", "Replog-End-Offset": str(end_offset)}
        if self.log.log.epoch:
            headers["Replog-Epoch"] = str(self.log.log.epoch)
        if self.log.log.log_id is not None:
            headers["Replog-Log-Id"] = self.log.log.log_id
        return View(end_offset, committed_end, committed_end if query.committed else end_offset, headers)

    async def arrived(self, query: ReadQuery) -> View:
        """The log, once it shows the record at ``min_offset``. Raises HttpProblem when it does not in time."""
        shown = self.shown(query)
        if query.min_offset is not None and shown.offset <= query.min_offset:
            with self.waiting.place():
                await self._wait(shown, query)
        return self.view(query)

    async def _wait(self, shown: OffsetWatch, query: ReadQuery) -> None:
        assert query.min_offset is not None
        async with self.waiting.until_stop():
            try:
                async with asyncio.timeout(query.timeout_s):
                    await shown.passed(query.min_offset)
            except TimeoutError:
                raise self._not_there_yet(query) from None
            return
        raise stopping()

    def _not_there_yet(self, query: ReadQuery) -> HttpProblem:
        view = self.view(query)
        known = "is known to be committed up to" if query.committed else "ends at"
        detail = f"after {query.timeout_s:g} s this node's log {known} {view.shown_end}, not beyond {query.min_offset}"
        return HttpProblem(
            504,
            "not-there-yet",
            detail,
            headers=view.headers,
            end_offset=view.end_offset,
            committed_end=view.committed_end,
        )

    async def stop(self, _: web.Application) -> None:
        """End all waits and streams, so that no reader delays the node's stop."""
        self.waiting.stop()
        self.streams.stop()


READABLE: Final = web.AppKey("readable", Readable)
