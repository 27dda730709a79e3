"""What is seen of real processes, as the history that the simulation's checker judges.

Nobody outside sees when a record becomes durable. But a look at a disk that does not show it tells that it was not
durable when the look began. So a record counts as durable from the earliest moment that no look contradicts: after the
last look that lacked it, after somebody asked for it, and not before it was on the master's disk. Thus what the
checker finds is broken for sure, and the more looks there are, the less can hide between them.
"""

import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from replicated_log.wire.batch import START, Batch, Position
from tests.simulation.history import (
    Cluster,
    DiskSeen,
    Durable,
    End,
    Event,
    Opened,
    Read,
    Record,
    Request,
    Wiped,
)

LONGEST_TOLD = 100


def told(message: str) -> str:
    """A message as the history has it: a long one by its beginning and a checksum."""
    if len(message) <= LONGEST_TOLD:
        return message
    return f"{message[:40].rstrip()} ... {len(message)} characters, {zlib.crc32(message.encode()):08x}"


@dataclass(frozen=True, slots=True)
class Stored:
    """A batch on a disk, durable no earlier than ``not_before``."""

    not_before: float
    first_offset: int
    records: tuple[Record, ...]
    chain: bytes


@dataclass(frozen=True, slots=True)
class Shown:
    """A look at a disk: so much was there."""

    time: float
    disk: str
    end: int
    committed_end: int | None


@dataclass(slots=True, eq=False)
class Disk:
    """What has been seen of one disk. Each batch in ``stored`` follows the one before it, byte for byte."""

    node: str
    name: str
    looked: float
    """When the last look began: what it did not show was not durable then."""
    end: Position = START
    stored: list[Stored] = field(default_factory=list)
    chains: dict[int, bytes] = field(default_factory=lambda: {START.offset: START.chain})
    """Where the batches end, and the chains there."""
    records: list[Record] = field(default_factory=list)
    """Those of all batches."""

    def holds(self, position: Position) -> bool:
        """Whether it has the log up to ``position``, the end of a batch, with the same bytes."""
        return self.chains.get(position.offset) == position.chain


class Witness:
    """Collects what clients, readers and the campaign itself see. Times are monotonic, in seconds."""

    def __init__(self, master: str, secondaries: Sequence[str], ack_delays: Mapping[str, float]) -> None:
        self.disks: dict[str, Disk] = {}
        """Of each node the disk that it has now."""
        self.violations: list[str] = []
        self.master = master
        self._began = time.monotonic()
        self._events: list[Event] = [Cluster(0.0, master, tuple(secondaries), ack_delays=tuple(ack_delays.items()))]
        self._shown: list[Shown] = []
        self._all_disks: list[Disk] = []
        self._asked: dict[str, float] = {}
        self._records: dict[bytes, tuple[Record, ...]] = {}
        self._ops = 0
        for node in (master, *secondaries):
            self.new_disk(node)

    def now(self) -> float:
        return time.monotonic() - self._began

    def add(self, event: Event) -> None:
        self._events.append(event)

    def asks(self, messages: Sequence[str], w: int, key: str | None, *, again: bool) -> int:
        """A client is about to ask for an append; the number to tell its outcome by.

        ``again``: of an earlier request for it, nobody can say for sure that it came to nothing.
        """
        self._ops += 1
        now, texts = self.now(), tuple(told(message) for message in messages)
        if not again:
            self._asked |= dict.fromkeys(texts, now)
        self.add(Request(now, self._ops, texts, w, key))
        return self._ops

    def new_disk(self, node: str) -> Disk:
        """The node has an empty disk from now on."""
        return self._insert(Disk(node, f"{node}'s disk {len(self._all_disks)}", self.now()))

    def wiped(self, node: str) -> None:
        """The node's disk is gone, and a new one takes its place."""
        self.add(Wiped(self.now(), self.disks[node].name))
        self.new_disk(node)

    def visited(self, node: str, began: float, visitor: Disk) -> None:
        """Another process has been the node since ``began``, with a disk that is gone now.

        The node's own disk gets a new name, since of disks with other names the last one is the node's. It must have
        been looked at since the other process ended.
        """
        own = self.disks[node]
        self._all_disks.append(visitor)
        self.add(Opened(began, node, visitor.name, 0))
        self.add(Wiped(self.now(), visitor.name))
        again = Disk(
            node, f"{node}'s disk {len(self._all_disks)}", own.looked, own.end, chains=own.chains, records=own.records
        )
        again.stored = [Stored(own.looked, batch.first_offset, batch.records, batch.chain) for batch in own.stored]
        self._insert(again)

    def opened(self, node: str) -> None:
        """The node's process is about to start; it did not run when its disk was looked at last."""
        disk = self.disks[node]
        disk.looked = self.now()
        self.add(Opened(disk.looked, node, disk.name, disk.end.offset))

    def heard(self) -> None:
        """The master has heard from all the disks there are now."""
        for disk in self.disks.values():
            self.add(DiskSeen(self.now(), disk.name))

    def look(
        self, disk: Disk, began: float, batches: Sequence[Batch], shown_end: int, committed_end: int | None = None
    ) -> None:
        """A look at a disk showed these batches after those that were known. It began at ``began``, and is over."""
        for batch in batches:
            if not batch.follows(disk.end):
                self.violations.append(f"agreement: {disk.name} has bytes at {batch.first_offset} that do not follow")
                return
            records = self._records.setdefault(
                batch.chain,
                tuple((batch.epoch, batch.time_ms, told(message)) for message in batch.messages()),
            )
            disk.records += records
            disk.stored.append(Stored(disk.looked, batch.first_offset, records, batch.chain))
            disk.end = batch.end
            disk.chains[batch.end.offset] = batch.chain
        disk.looked = began
        self._shown.append(Shown(self.now(), disk.name, shown_end, committed_end))

    def ends(self) -> None:
        """Faults and load are over, and every node has shown its whole log."""
        self.add(End(self.now()))

    @property
    def looks(self) -> int:
        return len(self._shown)

    def history(self) -> Iterator[Event]:
        """Everything in the order of time."""
        timed: list[tuple[float, int, Event | Shown]] = []
        for event in self._events:
            rank = 0 if isinstance(event, Cluster | Opened | Request) else 3
            timed.append((event.time, rank, event))
        timed += [(shown.time, 3, shown) for shown in self._shown]
        on_master: dict[bytes, float] = {}
        for disk in sorted(self._all_disks, key=lambda disk: disk.node != self.master):
            at = 0.0
            for batch in disk.stored:
                asked = (self._asked.get(record[2], 0.0) for record in batch.records)
                at = max(at, batch.not_before, on_master.get(batch.chain, 0.0), *asked)
                if disk.node == self.master:
                    on_master[batch.chain] = at
                durable = Durable(at, disk.name, batch.first_offset, batch.records, batch.chain.hex())
                timed.append((at, 1 if disk.node == self.master else 2, durable))
        timed.sort(key=itemgetter(0, 1))
        records = {disk.name: disk.records for disk in self._all_disks}
        for _, _, seen in timed:
            if isinstance(seen, Shown):
                yield Read(seen.time, seen.disk, tuple(records[seen.disk][: seen.end]), seen.committed_end)
            else:
                yield seen

    def _insert(self, disk: Disk) -> Disk:
        self.disks[disk.node] = disk
        self._all_disks.append(disk)
        self.add(Opened(disk.looked, disk.node, disk.name, 0))
        return disk
