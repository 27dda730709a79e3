"""Appends with an idempotency key: how the headers of a batch name them.

Headers follow the messages of a batch, one header for each append that has a key, in the order of the log:

    field         bytes   meaning
    first             4   place of the append's first record in the batch, from 0 on
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
    """An append that has a key, as a log has it. ``digest`` is :func:`digest` of its messages."""

    key: str
    digest: bytes
    first_offset: int
    count: int
    epoch: int


def is_key(text: str) -> bool:
    """Whether this can be an idempotency key."""
    return _KEY.fullmatch(text) is not None


def digest(messages: Sequence[bytes]) -> bytes:
    """A digest of one append's messages: equal for equal ones, and nobody can find other messages with the same."""
    hashed = blake2b(struct.pack(f">{len(messages)}I", *map(len, messages)), digest_size=DIGEST_BYTES)
    for message in messages:
        hashed.update(message)
    return hashed.digest()


def header_size(key: str | None) -> int:
    """How many bytes of a batch the header of an append with this key takes; 0 without a key."""
    return 0 if key is None else _FIELDS.size + len(key)


def encode_headers(keyed_appends: Sequence[KeyedAppend], first_offset: int) -> bytes:
    """The headers of a batch that begins at ``first_offset``."""
    return b"".join(
        _FIELDS.pack(append.first_offset - first_offset, append.count, append.digest, len(append.key))
        + append.key.encode("ascii")
        for append in keyed_appends
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
