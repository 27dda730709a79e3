"""What becomes of a client's append, or of its wait for nodes: who holds the records, or why the wait failed."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Holders:
    """``since``: the nodes that hold a batch, master first, with the moment since when; ``missing``: the other nodes.

    Moments are monotonic time in seconds; None when it was too long ago to be known.
    """

    since: Sequence[tuple[str, float | None]]
    missing: Sequence[str]


@dataclass(slots=True)  # Not frozen, which would make one take three times as long.
class ReplicationResult:
    """Which nodes hold all of the ``count`` records from ``offset`` on, at the moment ``at``.

    ``epoch`` is that of the records. The request ``started`` at a moment as in ``holders``.
    ``replayed`` says that an earlier append with the same key had appended them, or was about to.
    """

    offset: int
    count: int
    epoch: int
    replayed: bool
    started: float
    at: float
    holders: Holders

    @property
    def held_by(self) -> list[tuple[str, float | None]]:
        """Names, master first, with milliseconds from the request on: 0 for a node that held them before."""
        return [
            (name, None if since is None else ms_between(self.started, since)) for name, since in self.holders.since
        ]

    @property
    def missing(self) -> Sequence[str]:
        return self.holders.missing

    @property
    def elapsed_ms(self) -> float:
        return ms_between(self.started, self.at)


def ms_between(started: float, moment: float) -> float:
    """Milliseconds from one moment to another, in seconds; 0 where that was before."""
    return max(moment - started, 0.0) * 1000


class NotReachedError(Exception):
    """Raised by :meth:`Replicator.append` and ``wait``: appended and being replicated, but not on w nodes in time."""

    def __init__(self, result: ReplicationResult) -> None:
        super().__init__(f"on {len(result.held_by)} nodes after {result.elapsed_ms:.0f} ms")
        self.result = result


class NotCommittedError(Exception):
    """Raised by :meth:`Replicator.append`: the master's own commit did not end in time. It may still be appended."""


class KeyReusedError(Exception):
    """Raised by :meth:`Replicator.append`: the key belongs to other messages; nothing was appended."""


class EndMismatchError(Exception):
    """Raised by :meth:`Replicator.append`: the log did not end where it should, but at ``end_offset``.

    Nothing was appended, and the key, if there was one, is not used up.
    """

    def __init__(self, end_offset: int) -> None:
        super().__init__(f"the log ends at {end_offset}")
        self.end_offset = end_offset


class NoSuchRecordError(Exception):
    """Raised by :meth:`Replicator.wait`: the log ends at ``end_offset``, and holds no such record yet."""

    def __init__(self, end_offset: int) -> None:
        super().__init__(f"the log ends at {end_offset}")
        self.end_offset = end_offset
