"""Says whether a history keeps the promises. Linear in the history, and knows nothing of how the cluster works.

The rules, by the names that a violation carries:

    agreement    every disk's log is a gap-free prefix of one sequence, byte for byte, at all times
    unique       no message is in the sequence twice
    phantom      no message is in it that no client asked for
    durable      an answer with w=k: k configured nodes had the records on disk then, at the answered offset
    latency      and it had passed the simulated latency of each of them
    answered     nobody is left waiting for an append that all nodes have announced
    committed    what is shown as committed has been on a majority of the configured nodes
    refused      a message that was refused for sure, each time that it was asked for, is on no disk
    key          messages of at most one request are stored with a key, so that each of them is in the sequence once;
                 whoever asks for the same messages with it is told where they are, and only others are refused for it
    replayed     one of the requests for the same messages is told that it has appended them, if all are told, and
                 all others that they were appended before
    epoch        who is told where messages are is told their epoch
    if-match     an append that asked where the log should end is there, and nowhere else; who is refused for that is
                 told an end that the log had since it was asked
    order        an append that was asked for after another was answered comes after it
    reads        a read shows nothing but what is durable on that disk, all of it in order, and never goes back
    lost         a disk never loses what was durable on it
    read-only    a master refuses appends, seconds after it could know, when others hold what it has lost; never else.
                 When all others are connected, it refuses from the first append on
    quorum       where one is required, the master appends nothing before it has heard from a majority
    healing      when the faults have ended, every node has the whole log within bounded time

A node's disk may be lost while its ack is under way; nobody can know. So an earlier disk of a node counts for `durable`
until the master has heard from the one that replaced it. After PastLost the sequence may fork: until it is Settled, a
log is a prefix of the old sequence or of what the master makes of its copy.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tests.simulation.checker_keys import Append, BrokenError, Keys
from tests.simulation.history import (
    Answered,
    Broken,
    Cluster,
    DiskSeen,
    Durable,
    End,
    Event,
    Fault,
    Heard,
    Held,
    Opened,
    PastLost,
    Read,
    Refused,
    Request,
    Restored,
    Settled,
    Stuck,
    TimedOut,
    Wiped,
)
from tests.simulation.sequence import Disk, Line

READ_ONLY_WITHIN_S: Final = 3.0
"""Before an operator restores a master, it must have been read-only for at least so long."""


@dataclass(frozen=True, slots=True)
class Violation:
    rule: str
    time: float
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what} (at {self.time:.3f} s)"


def check(history: Iterable[Event]) -> Violation | None:
    """The first violation in a history, or None."""
    checker = _Checker()
    for event in history:
        try:
            checker.take(event)
        except BrokenError as broken:
            rule, what = broken.args
            return Violation(rule, event.time, what)
    return None


class _Checker:
    def __init__(self) -> None:
        self.master = ""
        self.configured: tuple[str, ...] = ()
        self.disks: dict[str, Disk] = {}
        self.counted: dict[str, list[Disk]] = {}
        self.appends: dict[int, Append] = {}
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
        self.full_end = 0
        self.require_quorum = False
        self.heard: set[str] = set()

    def take(self, event: Event) -> None:  # noqa: C901, PLR0912 - one branch per kind of event
        match event:
            case Durable():
                self._durable(event)
            case Read():
                self._read(event)
            case Request():
                self._request(event)
            case Answered(_, op, offset):
                self.appends[op].waits = False
                self._placed(event, offset)
                self._held(op, self.appends[op].w, event.time)
            case Held(_, op, w):
                self._held(op, w, event.time)
            case TimedOut(_, op, offset):
                self.appends[op].waits = False
                if offset is not None:
                    self._placed(event, offset)
            case Broken(_, op):
                self.appends[op].waits = False
            case Refused(_, op):
                self.appends[op].waits = False
                self._refuse(event)
            case Opened():
                self._opened(event)
            case Wiped(_, disk):
                if disk in self.disks:
                    self.disks[disk].gone = True
            case DiskSeen(_, disk):
                self._seen(self.disks[disk])
            case Heard(_, node):
                self.heard.add(node)
            case Cluster(_, master, secondaries, observers, ack_delays):
                self.require_quorum = event.require_quorum
                self.ack_delays = dict(ack_delays)
                self.master, self.configured = master, (master, *secondaries)
                self.counted = {node: [] for node in (*self.configured, *observers)}
            case PastLost():
                self._past_lost(event)
            case Settled(_, disk):
                self._unanimous(self.disks[disk])
                self._settle(self.disks[disk])
            case Restored():
                self._restored(event)
            case Stuck(_, what):
                raise BrokenError("healing", what)
            case End():
                self._end()
            case Fault():
                pass

    def _request(self, event: Request) -> None:
        disks = self.counted[self.master]
        end = disks[-1].end if disks else 0
        stored = end > 0 and not disks[-1].line.messages.isdisjoint(event.messages)
        append = Append(event.messages, event.w, self.floor, event.key, event.if_end, end, stored)
        self.keys.request(append)
        self.appends[event.op] = append
        self.asked.update(event.messages)
        self.refused.difference_update(event.messages)

    def _durable(self, event: Durable) -> None:
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
            # The old sequence can't grow any more: whoever has something new has it from the master's copy.
            other = self.fork if disk.line is self.line else self.line
            if other.records[: disk.end] == disk.line.records[: disk.end]:
                disk.line = other
        self._extend(disk, event, end)
        disk.grow(end, event.time)
        if self.fork is None:
            held = sorted((self._held_end(node) for node in self.configured), reverse=True)
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

    def _read(self, event: Read) -> None:
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

    def _placed(self, told: Answered | TimedOut, offset: int) -> None:
        """The client was told where its messages are."""
        append = self.appends[told.op]
        append.offset = offset
        self.keys.placed(append, offset)
        if offset <= append.floor:
            raise BrokenError("order", f"{append.messages} is at {offset}, and {append.floor} was answered before")
        if not self._has(self.counted[self.master][-1], append):
            raise BrokenError("durable", f"{append.messages} is not on the master's disk at {offset}")
        epoch = self.counted[self.master][-1].line.records[offset][0]
        if told.epoch not in {None, epoch}:
            raise BrokenError("epoch", f"{append.messages} was said to be of epoch {told.epoch}, and is of {epoch}")
        if told.replayed is not None:
            self.keys.told(append, replayed=told.replayed)

    def _held(self, op: int, w: int, time: float) -> None:
        append = self.appends[op]
        assert append.offset is not None
        holders = [node for node in self.configured if any(self._has(disk, append) for disk in self.counted[node])]
        if len(holders) < w:
            raise BrokenError("durable", f"{append.messages} at {append.offset} was said to be on {w}, is on {holders}")
        end = append.offset + len(append.messages)
        passed = [node for node in holders if any(disk.announced_by(time) >= end for disk in self.counted[node])]
        if len(passed) < w:
            raise BrokenError("latency", f"{append.messages} was said to be on {w}, and only {passed} could say so")
        if w == len(self.configured):
            self.full_end = max(self.full_end, end)
        self.floor = max(self.floor, append.offset + len(append.messages) - 1)

    def _has(self, disk: Disk, append: Append) -> bool:
        assert append.offset is not None
        end = append.offset + len(append.messages)
        if disk.end < end:
            return False
        return tuple(record[2] for record in disk.line.records[append.offset : end]) == append.messages

    def _held_end(self, node: str) -> int:
        return max((disk.end for disk in self.counted[node]), default=0)

    def _refuse(self, refusal: Refused) -> None:
        append = self.appends[refusal.op]
        messages = append.messages
        if refusal.why == "read-only" and not self.past_lost:
            raise BrokenError("read-only", f"{messages} was refused by a master that lacks nothing")
        master = self.counted[self.master][-1]
        if not self.keys.refused(append, refusal, master.line, master.end):
            return
        self.refused.update(messages)
        for line in (self.line, self.fork):
            if line is not None and not line.messages.isdisjoint(messages):
                raise BrokenError("refused", f"{messages} was refused, and is in the log")

    def _opened(self, event: Opened) -> None:
        disk = self.disks.get(event.disk)
        if disk is None:
            disk = self.disks[event.disk] = Disk(event.node, self.line, ack_delay=self.ack_delays.get(event.node, 0.0))
            self.counted[event.node].append(disk)
            if event.node == self.master:
                self._seen(disk)
        if event.node == self.master:
            self.heard.clear()
        if event.end != disk.end:
            raise BrokenError("lost", f"{event.disk} is opened at {event.end}, and had {disk.end} durable records")
        disk.open()

    def _seen(self, disk: Disk) -> None:
        counted = self.counted[disk.node]
        if disk in counted:
            del counted[: counted.index(disk)]

    def _past_lost(self, event: PastLost) -> None:
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

    def _restored(self, event: Restored) -> None:
        if event.time - self.master_grew < READ_ONLY_WITHIN_S:
            raise BrokenError("read-only", f"{event.disk} had to be restored, and its log grew to the last")
        source = self.disks[event.source]
        self._settle(source)
        self.keys.forget_stored()
        self.disks[event.disk] = Disk(self.master, self.line, source.end)
        self.counted[self.master] = [self.disks[event.disk]]

    def _unanimous(self, master: Disk) -> None:
        """Nobody holds what the master lacks, or it would have had to be read-only."""
        for node in self.configured:
            for disk in self.counted[node][-1:]:
                if not disk.gone and disk.line.records[: disk.end] != master.line.records[: master.end][: disk.end]:
                    raise BrokenError("read-only", f"{node} holds records that the master lacks, and goes on without")

    def _settle(self, disk: Disk) -> None:
        """The line goes on from this disk, which becomes the master's if it isn't."""
        line = disk.line.cut(disk.end)
        for other in self.disks.values():
            if other.line.records[: other.end] == line.records[: other.end]:
                other.line = line
        self.line, self.fork, self.forewarned = line, None, None
        self.floor = min(self.floor, disk.end - 1)

    def _end(self) -> None:
        end = len(self.line.records)
        for node, disks in self.counted.items():
            if disks[-1].shown != end or disks[-1].line is not self.line:
                raise BrokenError("healing", f"{node} shows {disks[-1].shown} records of {end}")
        places = {record[2]: offset for offset, record in enumerate(self.line.records)}
        for append in self.appends.values():
            offset = places.get(append.messages[0])
            if offset is not None and offset < self.full_end and append.waits and not self.past_lost:
                raise BrokenError("answered", f"{append.messages} is on all nodes, and its client still waits")
            if offset is not None and offset <= append.floor and not self.past_lost:
                raise BrokenError("order", f"{append.messages} is at {offset}, and {append.floor} was answered before")
