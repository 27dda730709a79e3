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
                 a client that asks for the same messages with it is told where they are, only others are refused for it
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

from tests.simulation.checker_keys import Append, BrokenError
from tests.simulation.checker_logs import Logs
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
from tests.simulation.sequence import Disk


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


class _Checker(Logs):
    """The rules about what clients are told."""

    def __init__(self) -> None:
        super().__init__()
        self.appends: dict[int, Append] = {}
        self.full_end = 0

    def take(self, event: Event) -> None:  # noqa: C901, PLR0912 - one branch per kind of event
        match event:
            case Durable():
                self.durable(event)
            case Read():
                self.read(event)
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
                self.opened(event)
            case Wiped(_, disk):
                if disk in self.disks:
                    self.disks[disk].gone = True
            case DiskSeen(_, disk):
                self.seen(self.disks[disk])
            case Heard(_, node):
                self.heard.add(node)
            case Cluster(_, master, secondaries, observers, ack_delays):
                self.require_quorum = event.require_quorum
                self.ack_delays = dict(ack_delays)
                self.master, self.configured = master, (master, *secondaries)
                self.counted = {node: [] for node in (*self.configured, *observers)}
            case PastLost():
                self.lose_past(event)
            case Settled(_, disk):
                self.unanimous(self.disks[disk])
                self.settle(self.disks[disk])
            case Restored():
                self.restored(event)
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
