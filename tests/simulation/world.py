"""A cluster under virtual time: a heap of what is to happen, and the history of what has happened.

Everything random comes from the plan's seed, by generators of their own for each part, so that leaving out a fault
changes as little as possible elsewhere.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from heapq import heappop, heappush
from importlib import import_module
from random import Random
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from zlib import crc32

from tests.simulation.broker import Broker
from tests.simulation.history import Cluster, DiskSeen, Durable, Event, Opened, PastLost, Record, Stuck
from tests.simulation.host import Host
from tests.simulation.master_node import Master
from tests.simulation.model_log import ModelDisk
from tests.simulation.plan import MASTER, Node, Plan
from tests.simulation.secondary_node import Secondary

if TYPE_CHECKING:
    from tests.simulation.clients import Clients


class World:
    """Invariant: ``now`` never decreases, and is the time of everything in ``history`` when it is put there."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.now = 0.0
        self.stormy = True
        self.over = False
        self.history: list[Event] = []
        self.labels: dict[str, str] = {}
        self.random = self.rng("world")
        self._ids = self.rng("ids")
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._seen: set[str] = set()
        self._clients: Clients | None = None
        self.broker = Broker(self)
        self.master = Host(self, Node(MASTER), Master)
        self.receivers = [Host(self, node, Secondary) for node in (*plan.secondaries, *plan.observers)]
        self.hosts = {host.name: host for host in (self.master, *self.receivers)}
        receivers = (*plan.secondaries, *plan.observers)
        self.record(
            Cluster(
                time=0.0,
                master=MASTER,
                secondaries=tuple(node.name for node in plan.secondaries),
                observers=tuple(node.name for node in plan.observers),
                ack_delays=tuple((node.name, node.ack_delay) for node in receivers if node.ack_delay),
                require_quorum=plan.require_quorum,
            )
        )

    def rng(self, name: str) -> Random:
        return Random(self.plan.seed << 32 | crc32(name.encode()))

    def fresh_id(self) -> str:
        return f"{self._ids.getrandbits(128):032x}"

    def bound(self, name: str) -> int:
        """One of the protocol's bounds, as it is in this world."""
        module, constant = name.rsplit(".", 1)
        value: int = getattr(import_module(f"replicated_log.{module}"), constant)
        return value

    def at(self, time: float, call: Callable[..., None], *arguments: Any) -> None:
        self._count += 1
        heappush(self._heap, (time, self._count, call, arguments))

    def after(self, delay: float, call: Callable[..., None], *arguments: Any) -> None:
        self._count += 1
        heappush(self._heap, (self.now + delay, self._count, call, arguments))

    def start(self, clients: "Clients") -> None:
        """Start the nodes, but for those that are late; ``clients`` will hear what they are told."""
        self._clients = clients
        for host in self.hosts.values():
            if host.name not in self.plan.late:
                self.at(0.0, host.start)

    def run(self) -> list[Event]:
        """Let everything happen until somebody says that it is over."""
        heap = self._heap
        with bounds(self.plan.bounds):
            try:
                while not self.over:
                    self.now, _, call, arguments = heappop(heap)
                    call(*arguments)
            except Exception as error:  # noqa: BLE001 - whatever a process dies of is what we are looking for
                self.record(Stuck(self.now, f"a process ended by {_where(error)}"))
        return self.history

    def record(self, event: Event) -> None:
        self.history.append(event)

    def opened(self, disk: ModelDisk) -> None:
        disk.sync()
        self.record(Opened(self.now, disk.label.split("/")[0], disk.label, len(disk.records)))

    def durable(self, disk: ModelDisk, first_offset: int, records: tuple[Record, ...]) -> None:
        self.record(Durable(self.now, disk.label, first_offset, records, disk.digest))

    def seen(self, disk_id: str) -> None:
        """The master's process has taken an ack of this disk in."""
        if disk_id not in self._seen:
            self._seen.add(disk_id)
            self.record(DiskSeen(self.now, self.labels[disk_id]))

    def past_lost(self, event: PastLost) -> None:
        self.record(event)
        if self._clients is not None:
            self._clients.forget_offsets()

    def tell_client(self, event: Event) -> None:
        self.record(event)
        if self._clients is not None:
            self._clients.hear(event)


@contextmanager
def bounds(values: dict[str, int]) -> Iterator[None]:
    """The protocol's bounds with these values."""
    with ExitStack() as patched:
        for name, value in values.items():
            patched.enter_context(patch(f"replicated_log.{name}", value))
        yield


def _where(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_qualname}, line {trace.tb_lineno}" if trace else "nowhere"
    return f"{type(error).__name__} in {place}: {error}"
