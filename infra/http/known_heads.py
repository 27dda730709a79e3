"""The heads of requests that were seen before: a client hardly ever sends another one."""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

MAX_HEADS: Final = 512
MAX_HEAD_BYTES: Final = 2048
HEAD_END: Final = b"\r\n\r\n"

Meaning = TypeVar("Meaning")


@dataclass(slots=True)
class KnownHead(Generic[Meaning]):
    """What a head means, and how many bytes of body it announces."""

    head: bytes
    body_bytes: int
    meaning: Meaning

    def body_in(self, data: bytes) -> bytes | None:
        """The body, if ``data`` is one whole request with this head."""
        size = len(self.head)
        return data[size:] if len(data) == size + self.body_bytes and data.startswith(self.head) else None


class KnownHeads(Generic[Meaning]):
    """Remembers heads of requests byte by byte, so that the same one need not be parsed again.

    Invariant: at most MAX_HEADS. When one more is learned, that one is forgotten whose last request is longest ago.
    """

    def __init__(self) -> None:
        self._heads: dict[bytes, KnownHead[Meaning]] = {}

    def find(self, data: bytes, begin: int = 0) -> KnownHead[Meaning] | None:
        """The head that stands in ``data`` at ``begin``, if it is known."""
        return self.get(data[begin : data.find(HEAD_END, begin, begin + MAX_HEAD_BYTES) + len(HEAD_END)])

    def get(self, head: bytes) -> KnownHead[Meaning] | None:
        """The same for a head alone."""
        known = self._heads.pop(head, None)
        if known is not None:
            self._heads[head] = known  # The last one now to be forgotten.
        return known

    def learn(self, head: bytes, body_bytes: int, meaning: Meaning) -> None:
        """``head`` ends with its empty line, and ``body_bytes`` follow it."""
        if len(head) > MAX_HEAD_BYTES:
            return
        if len(self._heads) >= MAX_HEADS and head not in self._heads:
            del self._heads[next(iter(self._heads))]
        self._heads[head] = KnownHead(head, body_bytes, meaning)
