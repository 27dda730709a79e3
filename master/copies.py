"""What becomes of a client's append, or of its wait for copies: who holds the records, or why nobody does."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Holders:
    """Which nodes hold a batch, by name, master first, ``since`` when (None: nobody remembers), and which do not."""

    since: Sequence[tuple[str, float | None]]
    missing: Sequence[str]


@dataclass(slots=True)  # Not frozen, which would make one take three times as long.
class Copies:
    """Who holds the ``count`` records from ``offset`` on, all of them, ``at`` what moment.

    Moments are monotonic time in seconds; the records were asked for when the request ``started``. ``epoch`` is that of
    the records. ``replayed`` says that an earlier append with the same key had appended them, or was about to.
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
        return [(name, None if since is None else self._ms_to(since)) for name, since in self.holders.since]

    @property
    def elapsed_ms(self) -> float:
        return self._ms_to(self.at)

    def _ms_to(self, moment: float) -> float:
        return max(moment - self.started, 0) * 1000


class NotReachedError(Exception):
    """Raised by :meth:`Replicator.append` and ``wait``: appended and being replicated, but not on w nodes in time."""

    def __init__(self, copies: Copies) -> None:
        super().__init__(f"on {len(copies.held_by)} nodes after {copies.elapsed_ms:.0f} ms")
        self.copies = copies


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
