"""What the checker knows of the nodes' disks: what each holds and has shown, and the rules about that."""

from typing import Final

from tests.simulation.checker_keys import BrokenError, Keys
from tests.simulation.history import Durable, Opened, PastLost, Read, Restored
from tests.simulation.sequence import Disk, Line

READ_ONLY_WITHIN_S: Final = 3.0
"""Before an operator restores a master, it must have been read-only for at least so long."""


class Logs:
    """Judges what disks hold and show. Rules about clients' answers are for the subclass.

    ``line`` is the sequence whose first records all disks hold; ``fork`` is a second one, from PastLost to Settled.
    """

    def __init__(self) -> None:
        self.master = ""
        self.configured: tuple[str, ...] = ()
        self.disks: dict[str, Disk] = {}
        self.counted: dict[str, list[Disk]] = {}
        self.asked: set[str] = set()
        self.refused: set[str] = set()
        self.keys = Keys()
        self.line = Line()
        self.fork: Line | None = None
        self.past_lost = False
        self.floor = -1
        self.committed = 0
        self.master_grew = 0.0
        self.forewarned: str | None = None
        self.ack_delays: dict[str, float] = {}
        self.require_quorum = False
        self.heard: set[str] = set()

    def durable(self, event: Durable) -> None:
        disk = self.disks[event.disk]
        if disk.node == self.master:
            self.master_grew = event.time
            if self.require_quorum and 1 + len(self.heard.intersection(self.configured)) <= len(self.configured) // 2:
                raise BrokenError("quorum", f"{event.disk} grew, and of the others only {self.heard} were ever heard")
            if self.forewarned is not None:
                raise BrokenError("read-only", f"{event.disk} grew, while {self.forewarned} held what it has lost")
        if event.first_offset != disk.end:
            raise BrokenError("agreement", f"{event.disk} ends at {disk.end} and goes on at {event.first_offset}")
        end = disk.end + len(event.records)
        if self.fork is not None and not self._fits(disk.line, event, end):
            # The old sequence can't grow any more: a disk with something new has it from the master's copy.
            other = self.fork if disk.line is self.line else self.line
            if other.records[: disk.end] == disk.line.records[: disk.end]:
                disk.line = other
        self._extend(disk, event, end)
        disk.grow(end, event.time)
        if self.fork is None:
            held = sorted((self.held_end(node) for node in self.configured), reverse=True)
            self.committed = max(self.committed, held[len(held) // 2])

    def _fits(self, line: Line, event: Durable, end: int) -> bool:
        known = line.records[event.first_offset : end]
        if self.fork is not None and line is self.line and end > len(line.records):
            return False
        return known == list(event.records[: len(known)]) and line.digests.get(end, event.digest) == event.digest

    def _extend(self, disk: Disk, event: Durable, end: int) -> None:
        line = disk.line
        if not self._fits(line, event, end):
            known = line.records[event.first_offset : end]
            raise BrokenError(
                "agreement", f"{event.disk} has {event.records} from {event.first_offset} on, not {known}"
            )
        new = event.records[max(len(line.records) - event.first_offset, 0) :]
        for _, _, message in new:
            if message not in self.asked:
                raise BrokenError("phantom", f"nobody asked for {message!r}, which is on {event.disk}")
            if message in line.messages:
                raise BrokenError("unique", f"{message!r} is on {event.disk} a second time")
            if message in self.refused:
                raise BrokenError("refused", f"{message!r} was refused, and is on {event.disk}")
            line.messages.add(message)
        if new and disk.node != self.master:
            raise BrokenError("durable", f"{event.disk} has {new} before the master's own disk")
        self.keys.stored(line, [record[2] for record in new])
        line.records.extend(new)
        line.digests[end] = event.digest

    def read(self, event: Read) -> None:
        disk = self.disks[event.disk]
        end = len(event.records)
        if end > disk.end:
            raise BrokenError("reads", f"{event.disk} shows {end} records, and {disk.end} are durable")
        if end < disk.shown:
            raise BrokenError("reads", f"{event.disk} shows {end} records after it has shown {disk.shown}")
        if list(event.records) != disk.line.records[:end]:
            raise BrokenError("reads", f"{event.disk} shows {event.records}, not {disk.line.records[:end]}")
        disk.shown = end
        claimed = min(event.committed_end or 0, end)
        if not self.past_lost and claimed > self.committed:
            raise BrokenError(
                "committed", f"{event.disk} shows {claimed} records as committed, and {self.committed} are"
            )

    def held_end(self, node: str) -> int:
        return max((disk.end for disk in self.counted[node]), default=0)

    def opened(self, event: Opened) -> None:
        disk = self.disks.get(event.disk)
        if disk is None:
            disk = self.disks[event.disk] = Disk(event.node, self.line, ack_delay=self.ack_delays.get(event.node, 0.0))
            self.counted[event.node].append(disk)
            if event.node == self.master:
                self.seen(disk)
        if event.node == self.master:
            self.heard.clear()
        if event.end != disk.end:
            raise BrokenError("lost", f"{event.disk} is opened at {event.end}, and had {disk.end} durable records")
        disk.open()

    def seen(self, disk: Disk) -> None:
        counted = self.counted[disk.node]
        if disk in counted:
            del counted[: counted.index(disk)]

    def lose_past(self, event: PastLost) -> None:
        """A new disk for the master, with the first records of the line, and what it makes of them."""
        self.past_lost = True
        self.keys.forget_stored()
        self.fork = self.line.cut(event.end)
        self.disks[event.disk] = Disk(self.master, self.fork, event.end)
        self.counted[self.master] = [self.disks[event.disk]]
        self.floor = min(self.floor, event.end - 1)
        if event.calm:
            disks = (disk for node in self.configured if node != self.master for disk in self.counted[node][-1:])
            self.forewarned = next((disk.node for disk in disks if disk.end > event.end), None)

    def restored(self, event: Restored) -> None:
        if event.time - self.master_grew < READ_ONLY_WITHIN_S:
            raise BrokenError("read-only", f"{event.disk} had to be restored, and its log grew to the last")
        source = self.disks[event.source]
        self.settle(source)
        self.keys.forget_stored()
        self.disks[event.disk] = Disk(self.master, self.line, source.end)
        self.counted[self.master] = [self.disks[event.disk]]

    def unanimous(self, master: Disk) -> None:
        """Nobody holds what the master lacks, or it would have had to be read-only."""
        for node in self.configured:
            for disk in self.counted[node][-1:]:
                if not disk.gone and disk.line.records[: disk.end] != master.line.records[: master.end][: disk.end]:
                    raise BrokenError("read-only", f"{node} holds records that the master lacks, and goes on without")

    def settle(self, disk: Disk) -> None:
        """The line goes on from this disk, which becomes the master's if it isn't."""
        line = disk.line.cut(disk.end)
        for other in self.disks.values():
            if other.line.records[: other.end] == line.records[: other.end]:
                other.line = line
        self.line, self.fork, self.forewarned = line, None, None
        self.floor = min(self.floor, disk.end - 1)
