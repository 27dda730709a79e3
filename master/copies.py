"""A client's append, or its wait for copies: who holds the records in the end, or why nobody does."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)  # Not frozen, which would make one take three times as long.
class Copies:
    """Who holds the ``count`` records from ``offset`` on, all of them, and since when.

    ``held_by`` are node names, master first, with milliseconds from the request: 0 when it was so before, None when
    nobody remembers. ``epoch`` is that of the records. ``replayed`` says that an earlier append with the same key had
    appended them, or was about to.
    """

    offset: int
    count: int
    epoch: int
    replayed: bool
    held_by: Sequence[tuple[str, float | None]]
    missing: Sequence[str]
    elapsed_ms: float


@dataclass(eq=False, slots=True)
class Ticket:
    """One client's append of ``count`` messages, or wait for one, for ``w`` copies.

    ``log_end`` is where the log ended when it was ``started``; ``offset`` is None until it is known to be on the
    master's disk. ``tell`` is called once: with who held it at the moment when w nodes did, or with why that can't be
    waited for any more.
    """

    count: int
    w: int
    log_end: int
    tell: Callable[[Copies | Exception], None]
    started: float = field(default_factory=time.monotonic)
    offset: int | None = None
    epoch: int = 0
    replayed: bool = False
    appended_at: float = 0.0

    def place(self, offset: int, epoch: int) -> None:
        """The records are on the master's disk."""
        self.offset, self.epoch = offset, epoch
        self.appended_at = self.started if offset < self.log_end else time.monotonic()

    def ms_to(self, moment: float) -> float:
        """Milliseconds from the request to ``moment`` of monotonic time: 0 when that was before."""
        return (moment - self.started) * 1000 if moment > self.started else 0.0


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
