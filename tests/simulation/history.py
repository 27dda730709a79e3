"""What was seen of a cluster, in the order of time: the only thing the checker knows.

Nothing here depends on the simulation: a campaign against real processes can write the same history. As JSON lines,
each event is an object with its class name as ``event``. Times are in seconds from the beginning. A disk is named by
whoever records the history; a node whose data directory was wiped, restored or set aside has another disk from then on.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

Record = tuple[int, int, str]
"""Epoch, time in milliseconds, message."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The first event: who takes part.

    ``observers`` follow and are never counted. ``ack_delays`` are the simulated latencies of nodes that have one,
    in seconds: so long after a record is durable may it be announced, or when the node's process starts anew.
    ``require_quorum``: the master is to append only while a majority is alive.
    """

    time: float
    master: str
    secondaries: tuple[str, ...]
    observers: tuple[str, ...] = ()
    ack_delays: tuple[tuple[str, float], ...] = ()
    require_quorum: bool = False


@dataclass(frozen=True, slots=True)
class Opened:
    """A node's process starts on this disk. ``end`` is where its log ends."""

    time: float
    node: str
    disk: str
    end: int


@dataclass(frozen=True, slots=True)
class Durable:
    """Records have become durable on a disk, from ``first_offset`` on. ``digest`` is of all bytes of the log so far."""

    time: float
    disk: str
    first_offset: int
    records: tuple[Record, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Wiped:
    """A disk is gone for good."""

    time: float
    disk: str


@dataclass(frozen=True, slots=True)
class DiskSeen:
    """The master has heard from this disk: it knows that the node's earlier disks are gone."""

    time: float
    disk: str


@dataclass(frozen=True, slots=True)
class Heard:
    """The first sign of life of a node that the master's present process takes in. Seen only where a quorum matters."""

    time: float
    node: str


@dataclass(frozen=True, slots=True)
class Request:
    """A client asks for an atomic append of messages, each with an id of its own in it.

    Two requests have the same messages only if they have the same ``key``. ``if_end``: only if the log ends there.
    """

    time: float
    op: int
    messages: tuple[str, ...]
    w: int
    key: str | None = None
    if_end: int | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """The client was told: your messages are held by as many nodes as you asked for, from ``offset`` on.

    And, where that was seen: the ``epoch`` of the records, and whether an earlier request had them ``replayed``.
    """

    time: float
    op: int
    offset: int
    epoch: int | None = None
    replayed: bool | None = None


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The client was told: appended at ``offset``, not yet held by as many as asked for. None: unknown.

    ``epoch`` and ``replayed`` are as in Answered.
    """

    time: float
    op: int
    offset: int | None
    epoch: int | None = None
    replayed: bool | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The client was told: not appended, because ... For ``end mismatch``, ``end`` is where the log was said to end."""

    time: float
    op: int
    why: str
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """The connection to the client broke: nothing is known about this append."""

    time: float
    op: int


@dataclass(frozen=True, slots=True)
class Held:
    """The master was asked whether ``w`` nodes hold an earlier append by now, and said yes."""

    time: float
    op: int
    w: int


@dataclass(frozen=True, slots=True)
class Read:
    """A client read the whole log of a node, and saw below ``committed_end`` shown as held by a majority."""

    time: float
    disk: str
    records: tuple[Record, ...]
    committed_end: int | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done to the cluster; for the reader, not for the checker."""

    time: float
    what: str


@dataclass(frozen=True, slots=True)
class PastLost:
    """The master's disk was replaced by an older copy of itself that ends at ``end``. What came after may be forked.

    ``calm`` says that it happened while all other nodes were connected, and nothing disturbed them.
    """

    time: float
    disk: str
    end: int
    calm: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """After PastLost: the operator is content with the log of this disk, whatever was elsewhere."""

    time: float
    disk: str


@dataclass(frozen=True, slots=True)
class Restored:
    """As Settled on ``source``; and the master's disk is now ``disk``, a copy of it."""

    time: float
    disk: str
    source: str


@dataclass(frozen=True, slots=True)
class Stuck:
    """The bounded time for this to heal has passed, or a process has ended by a bug."""

    time: float
    what: str


@dataclass(frozen=True, slots=True)
class End:
    """Faults and load are over: every node must have shown the whole log."""

    time: float


Event = (
    Cluster
    | Opened
    | Durable
    | Wiped
    | DiskSeen
    | Heard
    | Request
    | Answered
    | TimedOut
    | Refused
    | Broken
    | Held
    | Read
    | Fault
    | PastLost
    | Settled
    | Restored
    | Stuck
    | End
)

_KINDS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        Cluster,
        Opened,
        Durable,
        Wiped,
        DiskSeen,
        Heard,
        Request,
        Answered,
        TimedOut,
        Refused,
        Broken,
        Held,
        Read,
        Fault,
        PastLost,
        Settled,
        Restored,
        Stuck,
        End,
    )
}


def to_lines(history: Iterable[Event]) -> Iterator[str]:
    for event in history:
        yield json.dumps({"event": type(event).__name__, **asdict(event)}, separators=(",", ":"))


def from_lines(lines: Iterable[str]) -> Iterator[Event]:
    for line in lines:
        fields: dict[str, Any] = json.loads(line)
        kind = _KINDS[fields.pop("event")]
        yield kind(**{name: _frozen(value) for name, value in fields.items()})


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
