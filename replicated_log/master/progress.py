"""Who holds what: the master's count of copies, and how it sees each secondary.

An ack counts only when it is of this log and this reign, its chain equals the master's own there, and its node is
configured. One integer per node is the outcome: ``copies(offset) = 1 + number of secondaries with acked_end > offset``.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from replicated_log.timings import DEFAULT, Timings
from replicated_log.wire.batch import START, Position
from replicated_log.wire.delivery import DIVERGED, Ack, Fetch, ReignId
from replicated_log.write_concern import majority

MAX_OBSERVERS: Final = 100
_RECENT_ACKS: Final = 1024
_RECENT_CHAINS: Final = 4096


class Health(Enum):
    """How long a secondary has been silent. It never changes how many nodes must ack."""

    HEALTHY = "healthy"
    SUSPECTED = "suspected"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"
    DIVERGED = "diverged"


@dataclass(slots=True)
class Secondary:
    """What the master knows of one secondary. ``acked_end`` is verified: everything below is on ``disk_id``."""

    name: str
    timings: Timings
    acked_end: int = 0
    disk_id: str | None = None
    counts_from_beat: int = 0
    """While ``disk_id`` is None: only a disk that has heard this beat of the reign takes that place."""
    last_seen: float | None = None
    heard: bool = False
    """Whether an ack of this node was judged, its chain included: how its log compares with this one is known."""
    diverged: bool = False
    conflict: str | None = None
    """Why the master must not append: this node holds what the master lacks, or knows another master.

    It stays until the node's log turns out to be the master's, or the node has another disk.
    """
    unverified: Ack | None = None
    """An ack whose chain is being read from the log; it counts after that. If newer ones took its place, none would."""
    recent_acks: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=_RECENT_ACKS))

    def health(self, now: float) -> Health:
        if self.diverged:
            return Health.DIVERGED
        if self.last_seen is None:
            return Health.UNKNOWN
        silence = now - self.last_seen
        if silence < self.timings.suspected_s:
            return Health.HEALTHY
        return Health.SUSPECTED if silence < self.timings.unhealthy_s else Health.UNHEALTHY

    def acked_at(self, offset: int) -> float | None:
        """When this node's ack of ``offset`` came; None when it has not, or too long ago to tell."""
        if len(self.recent_acks) > 1 and self.recent_acks[-2][0] <= offset < self.recent_acks[-1][0]:
            return self.recent_acks[-1][1]  # Almost always the newest ack is asked for.
        at = bisect_right(self.recent_acks, offset, key=lambda ack: ack[0])
        if at == len(self.recent_acks) or (at == 0 and len(self.recent_acks) == _RECENT_ACKS):
            return None
        return self.recent_acks[at][1]


class Progress:
    """Counts the copies of every record.

    Invariant: ``held_by(w)`` is never more than what w distinct configured nodes have on disk, master included. It is
    kept, since it is asked for far more often than it changes.
    """

    def __init__(self, reign: ReignId, secondaries: Iterable[str], end: Position, timings: Timings = DEFAULT) -> None:
        self.reign = reign
        self.timings = timings
        self.beats = 0
        self.end = end
        self.secondaries = {name: Secondary(name, timings) for name in secondaries}
        self.observers: dict[str, Secondary] = {}
        self._update_held()
        self._chains = {START.offset: START.chain, end.offset: end.chain}

    @property
    def nodes(self) -> int:
        """How many nodes are configured, master included."""
        return 1 + len(self.secondaries)

    @property
    def committed_end(self) -> int:
        """The end of what a majority of the configured nodes holds."""
        return self.held_by(majority(self.nodes))

    @property
    def conflict(self) -> str | None:
        """Why the master must not append: some configured node shows that this is not the newest log."""
        for node in self.secondaries.values():
            if node.conflict:
                return node.conflict
        return None

    @property
    def all_heard(self) -> bool:
        return all(node.heard for node in self.secondaries.values())

    @property
    def verifying(self) -> bool:
        """Whether an ack of a configured node is still to be judged."""
        return any(node.unverified is not None for node in self.secondaries.values())

    def held_by(self, w: int) -> int:
        """The end of what ``w`` configured nodes hold, master included; 1 <= w <= nodes."""
        return self._held[w - 1]

    def alive(self, now: float) -> int:
        """How many configured nodes are healthy or suspected, master included."""
        living = {Health.HEALTHY, Health.SUSPECTED}
        return 1 + sum(node.health(now) in living for node in self.secondaries.values())

    def committed(self, ends: Sequence[Position]) -> None:
        """The master's own disk holds the log up to the last of ``ends``, which are those of batches."""
        for end in ends:
            self._chains[end.offset] = end.chain
        self.end = ends[-1]
        self._update_held()
        while len(self._chains) > _RECENT_CHAINS:
            del self._chains[next(iter(self._chains))]

    def fetch(self, fetch: Fetch, now: float) -> bool:
        """A fetch is a sign of life, never an ack. True when it asks for something of this log."""
        self._node(fetch.node).last_seen = now
        return fetch.log_id in {None, self.reign.log_id} and fetch.from_offset <= self.end.offset

    def ack(self, ack: Ack, now: float) -> int | None:
        """Count an ack, or see why it does not count.

        Returns an offset when the chain there must be read from the log first: answer with :meth:`chain_read`.
        """
        node = self._node(ack.node)
        if ack.reign == self.reign and not self._is_of_living_disk(node, ack):
            return None
        node.last_seen = now
        if conflict := self._conflict(ack):
            node.heard = True
            node.conflict = conflict
            node.diverged = ack.state == DIVERGED or ack.log_id != self.reign.log_id
            return None
        if ack.log_id != self.reign.log_id or ack.reign != self.reign:
            node.heard = True
            return None
        chain = self._chains.get(ack.acked.offset)
        if chain is not None:
            self._count(node, ack, chain, now)
        elif ack.acked.offset > node.acked_end and node.unverified is None:
            node.unverified = ack
            return ack.acked.offset
        return None

    def chain_read(self, offset: int, chain: bytes | None, now: float) -> None:
        """The log's chain at ``offset`` is ``chain``; None says that no batch ends there."""
        for node in (*self.secondaries.values(), *self.observers.values()):
            ack = node.unverified
            if ack is not None and ack.acked.offset == offset:
                node.unverified = None
                self._count(node, ack, chain, now)

    def connection_lost(self) -> None:
        """The reads that were asked for may never be answered: let the next ack ask again."""
        for node in (*self.secondaries.values(), *self.observers.values()):
            node.unverified = None

    def _update_held(self) -> None:
        self._held = [self.end.offset, *sorted((node.acked_end for node in self.secondaries.values()), reverse=True)]

    def _count(self, node: Secondary, ack: Ack, chain: bytes | None, now: float) -> None:
        """``chain`` is the log's own at the acked end; None when no batch of it ends there."""
        node.heard = True
        node.diverged = chain != ack.acked.chain
        node.conflict = f"{node.name} holds other records below {ack.acked.offset}" if node.diverged else None
        if not node.diverged and ack.acked.offset > node.acked_end:
            node.acked_end = ack.acked.offset
            self._update_held()
            node.recent_acks.append((node.acked_end, now))

    def _conflict(self, ack: Ack) -> str | None:
        """What an ack shows at once, before any chain is compared."""
        if ack.log_id is None or (ack.acked == START and ack.state != DIVERGED):
            return None
        if ack.acked.offset > self.end.offset or ack.log_id != self.reign.log_id:
            return (
                f"{ack.node} holds {ack.acked.offset} records of log {ack.log_id}, "
                f"this master {self.end.offset} of log {self.reign.log_id}"
            )
        if ack.state == DIVERGED:
            return f"{ack.node} holds other records"
        if ack.epoch > self.reign.epoch or (ack.reign not in {None, self.reign} and ack.epoch == self.reign.epoch):
            return (
                f"{ack.node} knows another master of this log: epoch {ack.epoch}, "
                f"reign {ack.reign.reign_id if ack.reign else 'unknown'}; "
                f"this is epoch {self.reign.epoch}, reign {self.reign.reign_id}"
            )
        return None

    def _is_of_living_disk(self, node: Secondary, ack: Ack) -> bool:
        """Whether the ack comes from the disk that this node has now.

        Once acks of two disks have come, none counts until one disk has heard a beat that was sent after that: the
        other one is dead, or was replaced, and its acks that are still on their way must not count for the living one.
        """
        if ack.disk_id == node.disk_id:
            return True
        if node.disk_id is not None:
            node.disk_id = None
            node.counts_from_beat = self.beats + 1
            node.acked_end = 0
            self._update_held()
            node.heard = node.diverged = False
            node.conflict = node.unverified = None
            node.recent_acks.clear()
        if ack.beat < node.counts_from_beat:
            return False
        node.disk_id = ack.disk_id
        return True

    def _node(self, name: str) -> Secondary:
        if name in self.secondaries:
            return self.secondaries[name]
        if name not in self.observers and len(self.observers) >= MAX_OBSERVERS:
            del self.observers[next(iter(self.observers))]
        return self.observers.setdefault(name, Secondary(name, self.timings))
