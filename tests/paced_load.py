"""A load that keeps its own pace: what is due is sent, however long the cluster takes to answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp

from tests.cluster import PATIENCE_S, Node

PER_SECOND: Final = 1000
MAX_IN_FLIGHT: Final = 500
"""A master that answers nothing makes the load fall behind its schedule, not fill this machine's memory."""
TICK_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Pace:
    """How many records were due by schedule, and how many have been answered, since the load began."""

    due: int
    answered: int

    def share_since(self, earlier: "Pace") -> float:
        """The answers since then, as a share of what became due since then: about 1 while the pace is kept."""
        return (self.answered - earlier.answered) / (self.due - earlier.due)


class PacedLoad:
    """PER_SECOND appends each second, one record in each. Invariant: 0 <= sent - answered <= MAX_IN_FLIGHT."""

    def __init__(self, master: Node, *, w: int) -> None:
        self._url = f"{master.url}/messages"
        self._w = w
        self._started = asyncio.get_running_loop().time()
        self._sent = 0
        self._answered = 0
        self._stopped = False

    @property
    def pace(self) -> Pace:
        due = int((asyncio.get_running_loop().time() - self._started) * PER_SECOND)
        return Pace(due, self._answered)

    async def run(self) -> None:
        """Send what is due until :meth:`stop`, then wait for the answers. Each must be that the record is appended."""
        # Connections are kept, unlike a cluster's: this master stays.
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(PATIENCE_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http, asyncio.TaskGroup() as appends:
            while not self._stopped:
                room = MAX_IN_FLIGHT - (self._sent - self._answered)
                for _ in range(min(self.pace.due - self._sent, room)):
                    appends.create_task(self._append(http, f"live {self._sent}"))
                    self._sent += 1
                await asyncio.sleep(TICK_S)

    def stop(self) -> None:
        self._stopped = True

    async def _append(self, http: aiohttp.ClientSession, message: str) -> None:
        async with http.post(self._url, json={"message": message, "w": self._w}) as response:
            assert response.status == 201, await response.text()
            await response.read()
        self._answered += 1


@asynccontextmanager
async def paced_load(master: Node, *, w: int) -> AsyncIterator[PacedLoad]:
    """The load runs meanwhile; when the context is left, every record that was sent has been answered."""
    load = PacedLoad(master, w=w)
    async with asyncio.TaskGroup() as clients:
        clients.create_task(load.run())
        yield load
        load.stop()
