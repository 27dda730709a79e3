"""Where a campaign takes place: the broker, the nodes with their ways to it, the clients, and the watch over it all."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from random import Random

import aiohttp
import pytest

from replicated_log.wire.batch import MalformedBatchError
from tests.campaign.client import Client
from tests.campaign.member import Member
from tests.campaign.witness import Witness
from tests.cluster import Cluster, eventually
from tests.container_broker import AnyBroker
from tests.faults_disk import SmallDisk, small_disk
from tests.management import Management
from tests.tcp_proxy import TcpProxy

SECONDARIES = {"node1": {}, "node2": {"LATENCY": "0.05"}}
ON_SMALL_DISKS = ("master", "node1")
DISK_MIB = 2048
MEMORY_BOUND_MIB = 300
"""For any node, with all its buffers full."""
UNTHOUGHT_OF = ("Traceback", "Warning: ", "was destroyed but it is pending", "was never ")
"""Whatever has one of these in it was written by Python, not by a node."""
LOOK_S = 0.4
WATCH_S = 0.2


class Arena:
    """Whoever finds a promise broken adds to ``witness.violations``; that ends the campaign."""

    def __init__(self, broker: AnyBroker, cluster: Cluster, witness: Witness) -> None:
        self.broker = broker
        self.cluster = cluster
        self.witness = witness
        self.management = Management(broker, cluster.http)
        self.members: dict[str, Member] = {}
        self.answers: Counter[str] = Counter()
        self.over = asyncio.Event()
        self._clients = 0

    @property
    def master(self) -> Member:
        return self.members[self.cluster.master.name]

    @property
    def secondaries(self) -> list[Member]:
        return [self.members[name] for name in self.cluster.secondaries]

    def client(self) -> Client:
        self._clients += 1
        return Client(self._clients, self.cluster, self.witness, self.answers)

    def violated(self, what: str) -> None:
        self.witness.violations.append(what)
        self.over.set()

    async def pause(self, seconds: float) -> None:
        """Wait, or until the campaign is to end."""
        try:
            async with asyncio.timeout(seconds):
                await self.over.wait()
        except TimeoutError:
            return

    async def heal(self, client: Client) -> None:
        """Wait until all nodes take part, a message is on all of them, and each has the log that the master has."""

        async def takes_a_message() -> bool:
            return await client.append("all", timeout_s=5.0) == 201

        await eventually(takes_a_message, "all nodes together take a message")
        await eventually(self.cluster.is_healthy, "the master sees every secondary healthy")
        await self.master.look()
        goal = self.master.disk.end
        for member in self.secondaries:

            async def is_there(member: Member = member) -> bool:
                await member.look()
                return member.disk.holds(goal)

            await eventually(is_there, f"{member.name} has the master's log up to {goal.offset}")
        self.witness.heard()

    async def read(self, member: Member) -> None:
        """Look at one node again and again, and read a part of it as clients do."""
        random = Random(member.name)
        while True:
            try:
                await member.look()
                await member.read_some(random)
            except (aiohttp.ClientError, ConnectionError, TimeoutError):
                pass  # It does not run, or stands still.
            except (AssertionError, MalformedBatchError) as error:
                self.violated(f"reads: {member.name}: {error!r}")
            await asyncio.sleep(LOOK_S)

    def check_log_text(self, member: Member) -> None:
        """What the process has logged since this was done last: nothing that its author did not think of."""
        text = member.new_log_text()
        if any(sign in text for sign in UNTHOUGHT_OF):
            self.violated(f"processes: {member.name} logs what it must not:\n{text[-3000:]}")

    async def watch(self) -> None:
        """No process may end but by a fault, or grow without bound, or come to what its author did not think of."""
        while True:
            for member in self.members.values():
                if member.has_ended_by_itself:
                    end = member.node.logged()[-2000:]
                    self.violated(f"processes: {member.name} has ended, though nothing was done to it:\n{end}")
                    return
                member.measure_memory()
                if member.peak_memory_mib > MEMORY_BOUND_MIB:
                    self.violated(f"memory: {member.name} has had {member.peak_memory_mib:.0f} MiB")
                    return
                self.check_log_text(member)
            if self.witness.violations:
                self.over.set()
            await asyncio.sleep(WATCH_S)


@asynccontextmanager
async def arena_at(broker: AnyBroker, directory: Path) -> AsyncIterator[Arena]:
    """The cluster, started and healthy. On leaving, whatever still runs of it is killed."""
    async with AsyncExitStack() as opened:
        cluster = await opened.enter_async_context(Cluster(broker.amqp_url, directory, SECONDARIES))
        ack_delays = {name: float(environ["LATENCY"]) for name, environ in SECONDARIES.items() if "LATENCY" in environ}
        arena = Arena(broker, cluster, Witness(cluster.master.name, tuple(SECONDARIES), ack_delays))
        for node in cluster.nodes:
            way = await opened.enter_async_context(TcpProxy(broker.amqp_url).running())
            node.environ["REPLOG_AMQP_URL"] = way.url
            disk = None
            if node.name in ON_SMALL_DISKS and (disk := opened.enter_context(_disk(directory / f"{node.name}-disk"))):
                node.data = directory / f"{node.name}-disk" / "data"
                node.environ["REPLOG_DATA"] = str(node.data)
            arena.members[node.name] = Member(node, way, arena.witness, disk)
        opened.callback(_kill, cluster)
        for member in arena.members.values():
            member.start()
        await eventually(cluster.is_healthy, "every secondary is healthy")
        yield arena


@asynccontextmanager
async def under_watch(arena: Arena) -> AsyncIterator[None]:
    """Meanwhile every node is read, and watched."""
    async with asyncio.TaskGroup() as tasks:
        watching = [tasks.create_task(arena.watch())]
        watching += [tasks.create_task(arena.read(member)) for member in arena.members.values()]
        try:
            yield
        finally:
            for task in watching:
                task.cancel()


@contextmanager
def _disk(at: Path) -> Iterator[SmallDisk | None]:
    """One that can be made full, where that is permitted."""
    with ExitStack() as mounted:
        try:
            disk = mounted.enter_context(small_disk(at, DISK_MIB))
        except pytest.skip.Exception:
            disk = None
        yield disk


def _kill(cluster: Cluster) -> None:
    for node in cluster.nodes:
        if node.process is not None:
            node.kill()
