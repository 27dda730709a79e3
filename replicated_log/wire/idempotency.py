"""Appends with an idempotency key: how they stand in the headers of a batch.

The headers of a batch that has some follow its messages, one for each append that has a key, in the order of the log:

    field         bytes   meaning
    first             4   place in the batch of the append's first record, which this is a header of
    count             4   number of records that the append has, from there on
    digest           16   blake2b(the lengths of the append's messages, 4 bytes each + the messages)
    key size          1   1 to 255
    key                   printable ASCII
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

MAX_KEY_LENGTH: Final = 255
DIGEST_BYTES: Final = 16

_FIELDS: Final = struct.Struct(f">II{DIGEST_BYTES}sB")
_KEY: Final = re.compile(f"[ -~]{{1,{MAX_KEY_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class KeyedAppend:
    """An append that has a key, as it is in a log. ``digest`` is that of its messages."""

    key: str
    digest: bytes
    first_offset: int
    count: int
    epoch: int


def is_key(text: str) -> bool:
    """Whether this can be an idempotency key."""
    return _KEY.fullmatch(text) is not None


def digest(messages: Sequence[bytes]) -> bytes:
    """Names the messages of one append: equal when all of them are, and nobody finds others with the same."""
    hashed = blake2b(struct.pack(f">{len(messages)}I", *map(len, messages)), digest_size=DIGEST_BYTES)
    for message in messages:
        hashed.update(message)
    return hashed.digest()


def header_size(key: str | None) -> int:
    """What a key costs in a batch."""
    return 0 if key is None else _FIELDS.size + len(key)


def encode_headers(keyed: Sequence[KeyedAppend], first_offset: int) -> bytes:
    """The headers of a batch that begins at ``first_offset``."""
    return b"".join(
        _FIELDS.pack(append.first_offset - first_offset, append.count, append.digest, len(append.key))
        + append.key.encode("ascii")
        for append in keyed
    )


def decode_headers(data: bytes, first_offset: int, count: int, epoch: int) -> tuple[KeyedAppend, ...]:
    """Read the headers of a batch of ``count`` records, to the last byte. Raises ValueError when anything is wrong."""
    found: list[KeyedAppend] = []
    at = taken = 0
    while at < len(data):
        if len(data) - at < _FIELDS.size:
            raise ValueError(f"{len(data) - at} bytes are too few for a header")
        first, records, digest_, size = _FIELDS.unpack_from(data, at)
        key = data[at + _FIELDS.size : at + _FIELDS.size + size].decode("ascii")
        if len(key) != size or not is_key(key):
            raise ValueError(f"a header has no key of {size} printable characters")
        if first < taken or records == 0 or first + records > count:
            raise ValueError(f"a header is of {records} records from {first} on, behind {taken} of {count}")
        found.append(KeyedAppend(key, digest_, first_offset + first, records, epoch))
        at += _FIELDS.size + size
        taken = first + records
    if not found:
        raise ValueError("there are no headers")
    if len({append.key for append in found}) < len(found):
        raise ValueError("two headers have the same key")
    return tuple(found)
