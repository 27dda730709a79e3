"""Clients that append while something is done to the cluster."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.cluster import Cluster, eventually


@asynccontextmanager
async def under_load(cluster: Cluster) -> AsyncIterator[None]:
    """Four clients append at w=2 meanwhile. None sees an error, and afterwards all is everywhere, once."""
    answered: dict[int, str] = {}
    enough = asyncio.Event()

    async def client(name: str) -> None:
        n = 0
        while not enough.is_set():
            answer = await cluster.master.append(f"{name} {n}", w=2)
            answered[answer["offset"]] = f"{name} {n}"
            n += 1

    async with asyncio.TaskGroup() as clients:
        for n in range(4):
            clients.create_task(client(f"client {n}"))
        await eventually(lambda: len(answered) > 20, "the load is on")
        yield
        before = len(answered)
        await eventually(lambda: len(answered) > before + 20, "the load goes on")
        enough.set()
    end = await cluster.master.append("the end", w=3)
    log = await cluster.converged()
    assert dict(enumerate(log)) == {**answered, end["offset"]: "the end"}
