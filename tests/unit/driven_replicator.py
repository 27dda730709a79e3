"""A replicator for tests, on a real log and without a broker, and its clients."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from infra.aio.tasks import beside
from infra.broker.free_ports import free_ports
from infra.disk.log_thread import LogThread, open_log
from infra.rabbitmq.choice import FAST
from infra.rabbitmq.names import Names
from master.outcome import ReplicationResult
from master.pending_appends import PendingAppend
from master.replicator import Replicator
from replicated_log.master.reign import Reign
from replicated_log.wire.batch import Position
from replicated_log.wire.delivery import ReignId
from tests.unit.builders import make_ack

T = TypeVar("T")


@asynccontextmanager
async def replicating(directory: Path, *secondaries: str) -> AsyncIterator[Replicator]:
    """A master that never reaches a broker."""
    async with open_log(directory, "master") as log:
        replicator = await new_replicator(log, secondaries)
        async with beside(replicator.run()):
            yield replicator


async def new_replicator(log: LogThread, secondaries: tuple[str, ...]) -> Replicator:
    epoch = await log.begin_reign()
    assert log.log.log_id is not None
    reign = Reign[PendingAppend](ReignId(log.log.log_id, epoch, "reign"), secondaries, log.log.end)
    (port,) = free_ports(1)
    urls = [f"amqp://127.0.0.1:{port}/"]
    return Replicator(reign, log, name="master", names=Names("main"), amqp_urls=urls, amqp=FAST)


async def append(
    replicator: Replicator, *texts: str, key: str | None = None, if_end: int | None = None
) -> ReplicationResult:
    messages = [text.encode() for text in texts]
    return await replicator.append(messages, w=1, timeout_s=30, key=key, if_end=if_end)


def acked(replicator: Replicator, end: Position, *, disk_id: str = "disk-1") -> None:
    """By node1."""
    reign = replicator.reign
    reign.receive(make_ack(end, disk_id=disk_id, reign=reign.id, log_id=reign.id.log_id), 0.0)
    replicator._perform()


class Client:
    """Appends, and waits for the outcome."""

    def __init__(self, replicator: Replicator, *texts: str, w: int = 1, timeout_s: float = 30) -> None:
        self.outcome: asyncio.Future[ReplicationResult | Exception] = asyncio.get_running_loop().create_future()
        messages = [text.encode() for text in texts]
        self.pending = replicator.begin(messages, self.set_outcome, w=w, timeout_s=timeout_s)

    def set_outcome(self, outcome: ReplicationResult | Exception) -> None:
        self.outcome.set_result(outcome)


async def records_of_commits(*clients: Client) -> list[int]:
    """How many records each of the commits has that the clients took part in."""
    records: Counter[float | None] = Counter()
    for client in clients:
        result = await client.outcome
        assert isinstance(result, ReplicationResult)
        ((_, committed_at),) = result.holders.since
        records[committed_at] += result.count
    return list(records.values())


async def at_once(*asked: Awaitable[T]) -> list[T | BaseException]:
    return await asyncio.gather(*asked, return_exceptions=True)
