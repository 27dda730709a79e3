"""Batches that a secondary has accepted and not persisted yet."""

from typing import Final

from replicated_log.secondary.delay_line import DelayLine
from replicated_log.wire.batch import Batch

MAX_PENDING_BYTES: Final = 16 << 20
MAX_COMMIT_BYTES: Final = 8 << 20
"""What one commit takes; the last batch may go beyond it."""


class PersistQueue:
    """Each batch waits until it is due, and until the commit before has ended.

    Invariant: batches leave in the order they came. All but the last one have less than MAX_PENDING_BYTES together.
    """

    def __init__(self) -> None:
        self._line: DelayLine[Batch] = DelayLine()
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        return self._bytes >= MAX_PENDING_BYTES

    @property
    def next_due(self) -> float | None:
        """When the first batch may be persisted; None when there is none."""
        return self._line.next_due

    def put(self, batch: Batch, due: float) -> None:
        assert not self.is_full
        self._line.put(batch, due)
        self._bytes += len(batch.data)

    def take(self, now: float) -> tuple[Batch, ...]:
        """Take out the batches that are due, as many as one commit takes."""
        batches: list[Batch] = []
        size = 0
        while size < MAX_COMMIT_BYTES and (batch := self._line.take(now)) is not None:
            batches.append(batch)
            size += len(batch.data)
        self._bytes -= size
        return tuple(batches)

    def let_leave_by(self, due: float) -> None:
        """Let no batch that waits now wait beyond ``due``."""
        self._line.let_leave_by(due)

    def clear(self) -> None:
        self._line.clear()
        self._bytes = 0
