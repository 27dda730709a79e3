"""What becomes of a client's append, or of its wait for copies: who holds the records, or why nobody does."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Holders:
    """The nodes that hold a batch, master first, by name and the moment since when; and the others, ``missing`` it.

    Moments are monotonic time in seconds; None where nobody remembers.
    """

    since: Sequence[tuple[str, float | None]]
    missing: Sequence[str]


@dataclass(slots=True)  # Not frozen, which would make one take three times as long.
class ReplicationResult:
    """Who holds the ``count`` records from ``offset`` on, all of them, at the moment ``at``.

    ``epoch`` is that of the records. They were asked for when the request ``started``: a moment as in ``holders``.
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
        """Names, master first, with milliseconds from the request: 0 when it was so before, None as in ``holders``."""
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
