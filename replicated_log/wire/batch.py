"""Records and batches: the unit that is stored, published and re-sent.

A batch's bytes are made once, by the master, and are the same on every node and on the wire:

    field         bytes   meaning
    magic             2   "RL"
    version           1   1
    flags             1   0, or 1: has headers; a reader refuses flags it does not know
    log id           16   the log this batch belongs to
    epoch             8   the master's reign in which the batch was appended
    first offset      8   offset of the first record
    time              8   milliseconds since 1970 (UTC), when the master appended it
    count             4   number of records, at least 1
    payload size      4   bytes after the header
    chain            16   blake2b(previous chain + the fields above + payload)
    checksum          4   CRC-32 of everything else in the batch
    payload               count lengths of 4 bytes, then the messages in UTF-8, one after the other,
                          then, if the flag says so, headers: see ``idempotency``

All integers are unsigned and big-endian. The chain makes two logs equal up to an offset exactly when
their chains there are equal; the checksum tells damage (drop it, fetch it again) from divergence.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import accumulate, pairwise
from typing import Final, NamedTuple
from zlib import crc32

from replicated_log.wire.idempotency import KeyedAppend, decode_headers, encode_headers, header_size

MAX_MESSAGE_BYTES: Final = 1 << 20
MAX_BATCH_BYTES: Final = 4 << 20
"""Upper bound of a whole batch, header included."""
MAX_BATCH_RECORDS: Final = 10_000

_MAGIC: Final = b"RL"
_VERSION: Final = 1
_HAS_HEADERS: Final = 1
_FIELDS: Final = struct.Struct(">2sBB16sQQQII")
CHAIN_BYTES: Final = 16
_CHECKSUM: Final = struct.Struct(">I")
_HEADER: Final = struct.Struct(f"{_FIELDS.format}{CHAIN_BYTES}sI")
HEADER_BYTES: Final = _HEADER.size
LENGTH_BYTES: Final = 4
"""What a record costs in a batch, beyond its message."""
MAX_APPEND_BYTES: Final = MAX_BATCH_BYTES - HEADER_BYTES
"""Upper bound of :func:`append_size`."""


class MalformedBatchError(Exception):
    """Raised by :func:`decode_batches`: the bytes are no sound batch of a version this program knows."""


class Position(NamedTuple):
    """A place between two batches of one log: the next record's offset, and the chain up to there."""

    offset: int
    chain: bytes


START: Final = Position(0, bytes(CHAIN_BYTES))
"""Where every log begins."""


@dataclass(frozen=True, slots=True)
class Records:
    """Consecutive records of one batch, given as their messages; the first is at ``first_offset``. There may be none.

    They have the same epoch and time. ``time_ms`` is in milliseconds since 1970 (UTC), by the master's clock.
    """

    first_offset: int
    epoch: int
    time_ms: int
    messages: list[str]

    @property
    def time(self) -> str:
        """RFC 3339, UTC, milliseconds."""
        seconds, ms = divmod(self.time_ms, 1000)
        moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=1000 * ms)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Batch:
    """One or more consecutive records. ``data`` is the whole batch as stored and sent; the rest is read from it.

    ``keyed_appends`` are the appends in it that have an idempotency key, in order.
    """

    log_id: str
    epoch: int
    first_offset: int
    time_ms: int
    count: int
    chain: bytes
    data: bytes
    keyed_appends: tuple[KeyedAppend, ...] = ()

    @property
    def end(self) -> Position:
        return Position(self.end_offset, self.chain)

    @property
    def end_offset(self) -> int:
        return self.first_offset + self.count

    @property
    def name(self) -> str:
        """Names the batch in traces: ``7`` for one record, ``7-9`` for three."""
        last = self.end_offset - 1
        return f"{self.first_offset}-{last}" if self.count > 1 else f"{last}"

    def follows(self, previous: Position) -> bool:
        """True when this batch continues the log that ends at ``previous``, and no other one."""
        return self.first_offset == previous.offset and self.chain == _chain(
            previous.chain, self.data[: _FIELDS.size], memoryview(self.data)[HEADER_BYTES:]
        )

    def records(self, start: int, stop: int) -> Records:
        """The records from offset ``start`` on, below ``stop``."""
        begin = max(start - self.first_offset, 0)
        messages = self.messages(begin, max(begin, stop - self.first_offset))
        return Records(self.first_offset + begin, self.epoch, self.time_ms, messages)

    def messages(self, begin: int = 0, end: int | None = None) -> list[str]:
        """The messages from place ``begin`` in the batch on, below place ``end``; all of them by default."""
        lengths = struct.unpack_from(f">{self.count}I", self.data, HEADER_BYTES)
        at = HEADER_BYTES + LENGTH_BYTES * self.count + sum(lengths[:begin])
        bounds = accumulate(lengths[begin:end], initial=at)
        data = self.data
        return [data[first:after].decode() for first, after in pairwise(bounds)]


def append_size(messages: Sequence[bytes], key: str | None = None) -> int:
    """How many bytes of a batch an append takes; MAX_APPEND_BYTES at most."""
    return sum(map(len, messages)) + LENGTH_BYTES * len(messages) + header_size(key)


def encode_batch(
    messages: Sequence[bytes],
    *,
    log_id: str,
    epoch: int,
    time_ms: int,
    previous: Position,
    keyed_appends: Sequence[KeyedAppend] = (),
) -> Batch:
    """Make the batch that continues a log at ``previous``.

    ``messages`` are UTF-8, at least one; the caller keeps the batch within MAX_BATCH_BYTES and MAX_BATCH_RECORDS.
    """
    count = len(messages)
    flags = _HAS_HEADERS if keyed_appends else 0
    payload = b"".join(
        (struct.pack(f">{count}I", *map(len, messages)), *messages, encode_headers(keyed_appends, previous.offset))
    )
    fields = _FIELDS.pack(
        _MAGIC, _VERSION, flags, bytes.fromhex(log_id), epoch, previous.offset, time_ms, count, len(payload)
    )
    chain = _chain(previous.chain, fields, payload)
    checksum = _CHECKSUM.pack(crc32(payload, crc32(fields + chain)))
    data = b"".join((fields, chain, checksum, payload))
    assert 0 < count <= MAX_BATCH_RECORDS
    assert len(data) <= MAX_BATCH_BYTES
    return Batch(log_id, epoch, previous.offset, time_ms, count, chain, data, tuple(keyed_appends))


def decode_batches(data: bytes) -> list[Batch]:
    """Read batches that stand one after the other, to the last byte.

    Every checksum is verified; whether a batch follows what a log holds is for :meth:`Batch.follows` to say.
    Raises MalformedBatchError for a batch that is damaged, too large, or of a version or flag that is not known here.
    """
    batches = []
    start = 0
    while start < len(data):
        batch = _decode_one(data, start)
        batches.append(batch)
        start += len(batch.data)
    return batches


def _decode_one(data: bytes, start: int) -> Batch:
    if len(data) - start < HEADER_BYTES:
        raise MalformedBatchError(f"{len(data) - start} bytes are too few for a batch")
    header = _HEADER.unpack_from(data, start)
    magic, version, flags, log_id, epoch, first_offset, time_ms, count, payload_size, chain, checksum = header
    if magic != _MAGIC or version != _VERSION or flags & ~_HAS_HEADERS:
        raise MalformedBatchError(f"not a batch of version {_VERSION}: it starts with {data[start : start + 4].hex()}")
    size = HEADER_BYTES + payload_size
    if size > MAX_BATCH_BYTES or size > len(data) - start:
        raise MalformedBatchError(f"a batch of {size} bytes, where {len(data) - start} are left")
    whole = data if size == len(data) else data[start : start + size]
    payload = memoryview(whole)[HEADER_BYTES:]
    if checksum != crc32(payload, crc32(whole[: HEADER_BYTES - _CHECKSUM.size])):
        raise MalformedBatchError(f"the checksum of the batch at offset {first_offset} does not match its bytes")
    if not 0 < count <= MAX_BATCH_RECORDS or payload_size < LENGTH_BYTES * count:
        raise MalformedBatchError(f"a batch of {payload_size} bytes can't hold {count} records")
    messages_end = LENGTH_BYTES * count + sum(struct.unpack_from(f">{count}I", payload))
    if messages_end > payload_size or (messages_end < payload_size and not flags):
        raise MalformedBatchError(f"the lengths in the batch at offset {first_offset} do not add up")
    try:
        keyed_appends = decode_headers(bytes(payload[messages_end:]), first_offset, count, epoch) if flags else ()
    except ValueError as error:
        raise MalformedBatchError(f"the batch at offset {first_offset}: {error}") from error
    return Batch(log_id.hex(), epoch, first_offset, time_ms, count, chain, whole, keyed_appends)


def _chain(previous: bytes, fields: bytes, payload: bytes | memoryview) -> bytes:
    digest = blake2b(previous, digest_size=CHAIN_BYTES)
    digest.update(fields)
    digest.update(payload)
    return digest.digest()
