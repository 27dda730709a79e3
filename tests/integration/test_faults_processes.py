"""Processes that stand still for longer than every timeout, and processes that are restarted one after the other."""

import asyncio
from collections.abc import Sized
from functools import partial

import aiohttp
import pytest

from tests.cluster import Cluster, eventually
from tests.faults_load import under_load
from tests.integration.conftest import BOTH_WAYS

pytestmark = [pytest.mark.slow, BOTH_WAYS]


def has_more_than(things: Sized, number: int) -> bool:
    return len(things) > number


@pytest.mark.impatient
async def test_a_secondary_that_stood_still_heals_and_holds_up_nobody(cluster: Cluster) -> None:
    async with under_load(cluster):
        with cluster["node1"].frozen():
            await cluster.outlast_timeouts()


@pytest.mark.impatient
async def test_a_master_that_stood_still_heals(cluster: Cluster) -> None:
    async with under_load(cluster):
        with cluster.master.frozen():
            await cluster.outlast_timeouts()


@pytest.mark.heart
async def test_a_rolling_restart_shows_clients_at_w_2_only_that_the_master_is_away(cluster: Cluster) -> None:
    """A client that keeps its connection may see, while the master restarts: that nobody listens there, a connection
    that ends before anything of an answer, or a 503 that says that the master is about to stop. What was refused in
    any of these ways was not appended, so it tries again and again until it is answered.
    """
    refused: set[str] = set()
    answered: dict[int, str] = {}
    enough = asyncio.Event()

    async def client(http: aiohttp.ClientSession, name: str) -> None:
        n = 0
        while not enough.is_set():
            message = f"{name} {n}"
            n += 1
            try:
                async with http.post(f"{cluster.master.url}/messages", json={"message": message, "w": 2}) as response:
                    answer = await response.json(content_type=None)
            except (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                refused.add(message)
                continue
            if response.status == 503 and "about to stop" in answer["detail"]:
                refused.add(message)
                continue
            assert response.status == 201, answer
            answered[answer["offset"]] = message

    async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as clients:
        for n in range(8):
            clients.create_task(client(http, f"client {n}"))
        for node in [*cluster.nodes, *cluster.nodes]:
            await eventually(partial(has_more_than, answered, len(answered) + 20), "clients are answered")
            assert await asyncio.to_thread(node.stop) == 0
            node.start()
            await eventually(cluster.is_healthy, "all nodes take part again")
        enough.set()
    log = await cluster.converged()
    assert dict(enumerate(log)) == answered
    assert not refused & set(log)
