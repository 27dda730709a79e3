"""Batches that are on the master's disk and are to be published."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from replicated_log.wire.batch import Batch
from replicated_log.wire.delivery import MAX_DELIVERY_BYTES

MAX_UNCONFIRMED: Final = 16
"""Deliveries published and not yet confirmed."""
MAX_UNPUBLISHED_BYTES: Final = 16 << 20


class PublishWindow:
    """Batches wait here for a place in the window of unconfirmed deliveries.

    Invariant: at most MAX_UNCONFIRMED deliveries are unconfirmed. The batches that were taken, or skipped, end at
    ``published_end``.
    """

    def __init__(self, published_end: int) -> None:
        self.published_end = published_end
        self._batches: deque[Batch] = deque()
        self._bytes = 0
        self._unconfirmed = 0

    @property
    def is_too_much(self) -> bool:
        return self._bytes > MAX_UNPUBLISHED_BYTES

    def add(self, batches: Sequence[Batch]) -> None:
        self._batches.extend(batches)
        self._bytes += sum(len(batch.data) for batch in batches)

    def take(self) -> tuple[Batch, ...]:
        """Take out the batches of one delivery, which is unconfirmed from now on; none when the window is full."""
        if not self._batches or self._unconfirmed >= MAX_UNCONFIRMED:
            return ()
        batches = [self._batches.popleft()]
        size = len(batches[0].data)
        while self._batches and size + len(self._batches[0].data) <= MAX_DELIVERY_BYTES:
            batches.append(self._batches.popleft())
            size += len(batches[-1].data)
        self._bytes -= size
        self._unconfirmed += 1
        self.published_end = batches[-1].end.offset
        return tuple(batches)

    def confirmed(self) -> None:
        """One delivery less is unconfirmed."""
        self._unconfirmed -= 1
        assert self._unconfirmed >= 0

    def skip_to(self, end: int) -> None:
        """Drop the batches that wait, which secondaries fetch instead, and go on at ``end``."""
        self._batches.clear()
        self._bytes = 0
        self.published_end = end

    def begin_anew(self, end: int) -> None:
        """As :meth:`skip_to`, on another connection: deliveries of the last one are confirmed no more."""
        self.skip_to(end)
        self._unconfirmed = 0
