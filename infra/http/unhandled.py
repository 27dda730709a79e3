"""The bytes of a connection that were read, and are not of a request that is under way or answered."""

from typing import Final

MAX_PASSED_BYTES: Final = 1 << 14
"""Of requests that were begun, kept until what is behind them is copied to the beginning."""


class Unhandled:
    """Stands in ``data``, from ``begin`` on. Invariant: after ``compact``, ``data`` is empty when there is nothing."""

    __slots__ = ("begin", "data")

    def __init__(self) -> None:
        self.data = b""
        self.begin = 0

    def __len__(self) -> int:
        return len(self.data) - self.begin

    def append(self, data: bytes) -> None:
        self.data = self.data[self.begin :] + data if self.data else data
        self.begin = 0

    def clear(self) -> None:
        self.data = b""
        self.begin = 0

    def compact(self) -> None:
        """Free what stands before ``begin``, unless it is little: to copy the rest for each request would take long."""
        if self.begin == len(self.data):
            self.clear()
        elif self.begin > MAX_PASSED_BYTES:
            self.data = self.data[self.begin :]
            self.begin = 0
