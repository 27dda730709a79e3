"""Retries with an idempotency key, while the master is killed again and again: every message once, and in order."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from client.api import Node, WriteConcern
from infra.rabbitmq.choice import FAST, PLAIN
from tests.cluster import Cluster, eventually
from tests.integration.conftest import NewCluster

CLIENTS = 8
LONGEST_S = 600.0
"""More than a run takes: an append that gives up would prove nothing."""


class Client:
    """Appends its messages one append after the other, by turns one and several at once, and keeps what it was told."""

    def __init__(self, name: str, w: WriteConcern) -> None:
        self.told: dict[int, str] = {}
        self.messages: list[str] = []
        self.replays = 0
        self._name = name
        self._w = w

    async def append_until(self, enough: asyncio.Event, url: str) -> None:
        async with Node(url) as master:
            while not enough.is_set():
                texts = [self._next_message() for _ in range(random.choice((1, 1, 5)))]
                if len(texts) == 1:
                    one = await master.append(texts[0], self._w, LONGEST_S)
                    self._note(one.offset, texts, replayed=one.replayed)
                else:
                    many = await master.append_many(texts, self._w, LONGEST_S)
                    self._note(many.first_offset, texts, replayed=many.replayed)

    def _next_message(self) -> str:
        self.messages.append(f"{self._name} {len(self.messages)}")
        return self.messages[-1]

    def _note(self, first_offset: int, texts: list[str], *, replayed: bool) -> None:
        self.replays += replayed
        self.told.update(enumerate(texts, first_offset))


@asynccontextmanager
async def appending(cluster: Cluster, w: WriteConcern) -> AsyncIterator[list[Client]]:
    """Clients that append while the block runs, and end with what they began."""
    clients = [Client(f"client {number}", w) for number in range(CLIENTS)]
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(client.append_until(enough, cluster.master.url))
        yield clients
        enough.set()


async def kill_the_master(cluster: Cluster, times: int, clients: list[Client]) -> None:
    """kill -9 at any moment: while it starts, before it serves, and while it answers."""
    for number in range(times):
        if number % 10:
            known = sum(len(client.told) for client in clients)

            async def gets_on(known: int = known) -> bool:
                return sum(len(client.told) for client in clients) > known

            await eventually(gets_on, "something is appended")
        await asyncio.sleep(random.uniform(0, 0.3))  # not in order to wait: the moment is what the test is about
        cluster.master.kill()
        cluster.master.start()


async def assert_exactly_once(cluster: Cluster, clients: list[Client]) -> None:
    log = await cluster.converged()
    assert sorted(log) == sorted(message for client in clients for message in client.messages)
    for client in clients:
        own = {message: offset for offset, message in enumerate(log) if message in set(client.messages)}
        assert list(own) == client.messages, "in the order in which they were appended"
        assert {offset: log[offset] for offset in client.told} == client.told, "where the client was told"
    assert sum(client.replays for client in clients) > 0, "no answer was ever lost"


@pytest.mark.parametrize(
    ("amqp", "times"),
    [(FAST, 10), pytest.param(FAST, 200, marks=pytest.mark.slow), pytest.param(PLAIN, 20, marks=pytest.mark.slow)],
)
async def test_killing_the_master_many_times_during_appends_leaves_every_message_exactly_once(
    new_cluster: NewCluster, times: int
) -> None:
    async with new_cluster({"node1": {}, "node2": {}}) as cluster:
        await cluster.started()
        async with appending(cluster, w="majority") as clients:
            await kill_the_master(cluster, times, clients)
        await assert_exactly_once(cluster, clients)
