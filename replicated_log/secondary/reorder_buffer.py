"""Batches that came too early: before the batches that they follow."""

from typing import Final

from replicated_log.wire.batch import Batch
from replicated_log.wire.delivery import ReignId

MAX_EARLY_BYTES: Final = 16 << 20
"""What a secondary keeps of them."""


class ReorderBuffer:
    """Invariant: together at most ``max_bytes``, at most one batch at an offset; the first to come stays."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._batches: dict[int, tuple[ReignId, Batch]] = {}

    def keep(self, reign: ReignId, batch: Batch) -> bool:
        """Keep a batch that ``reign`` sent; False when there is no room, or a batch at its offset already."""
        if self._bytes + len(batch.data) > self._max_bytes or batch.first_offset in self._batches:
            return False
        self._batches[batch.first_offset] = (reign, batch)
        self._bytes += len(batch.data)
        return True

    def take(self, reign: ReignId, offset: int) -> Batch | None:
        """Take out the batch that ``reign`` sent and that begins at ``offset``."""
        sender, batch = self._batches.get(offset, (None, None))
        if batch is None or sender != reign:
            return None
        self._drop(offset)
        return batch

    def drop_below(self, offset: int) -> None:
        """Drop the batches below ``offset``: all of them that came before the first other one."""
        while self._batches and (first := next(iter(self._batches))) < offset:
            self._drop(first)

    def drop_others(self, reign: ReignId) -> None:
        """Keep only what ``reign`` sent."""
        for offset in [offset for offset, (sender, _) in self._batches.items() if sender != reign]:
            self._drop(offset)

    def clear(self) -> None:
        self._batches.clear()
        self._bytes = 0

    def _drop(self, offset: int) -> None:
        self._bytes -= len(self._batches.pop(offset)[1].data)
