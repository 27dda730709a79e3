"""Heads that were seen before but for the value of one field: many clients send a new idempotency key each time."""

import re
from typing import Final

from multidict import CIMultiDict, CIMultiDictProxy

from infra.http.head import Head, Headers
from infra.http.known_heads import HEAD_END, MAX_HEAD_BYTES, KnownHeads

KEY: Final = "Idempotency-Key"
_NAME: Final = b"\r\nIdempotency-Key: "
_VALUE: Final = re.compile(rb"[!-~]+")
"""No blank, and nothing that ends a line: with such a value the bytes around it mean what they mean with another."""


class KeyedHead:
    """One that was learned. ``body_bytes`` follow it."""

    __slots__ = ("_fields", "_place", "body_bytes", "method", "target")

    def __init__(self, head: Head, headers: Headers) -> None:
        self.body_bytes = head.body_bytes
        self.method = head.method
        self.target = head.target
        self._fields = list(headers.items())
        self._place = [name for name, _ in self._fields].index(KEY)

    def headers(self, key: bytes) -> Headers:
        """The headers of a request with this key."""
        fields = self._fields.copy()
        fields[self._place] = (KEY, key.decode())
        return CIMultiDictProxy(CIMultiDict(fields))


class KeyedHeads:
    """Remembers heads byte by byte, without the value of the idempotency key.

    Invariant: the value is cut out of a head where the first field of that name has it. So two heads from which the
    same bytes are left differ in nothing but this value, and httptools reads all other fields alike in both.
    """

    def __init__(self) -> None:
        self._heads: KnownHeads[KeyedHead] = KnownHeads()

    def find(self, data: bytes) -> tuple[KeyedHead, Headers, int] | None:
        """The head that ``data`` begins with, if it is known, its headers with the key, and its size in bytes."""
        begin = data.find(_NAME, 0, MAX_HEAD_BYTES) + len(_NAME)
        if begin < len(_NAME):
            return None
        end = data.find(b"\r\n", begin, MAX_HEAD_BYTES)
        stop = data.find(HEAD_END, end, MAX_HEAD_BYTES) + len(HEAD_END)
        if end < 0 or stop < len(HEAD_END):
            return None
        known = self._heads.get(data[:begin] + data[end:stop])
        key = data[begin:end]
        if known is None or not _VALUE.fullmatch(key):
            return None
        return known.meaning, known.meaning.headers(key), stop

    def learn(self, data: bytes, head: Head, headers: Headers) -> None:
        """``data`` is the head, ``headers`` are its own. One with several keys, or with none, is not remembered."""
        begin = data.find(_NAME) + len(_NAME)
        if begin < len(_NAME) or len(headers.getall(KEY)) > 1 or KEY not in list(headers):
            return
        end = data.find(b"\r\n", begin)
        self._heads.learn(data[:begin] + data[end:], head.body_bytes, KeyedHead(head, headers))
