"""The few frames of AMQP 0-9-1 that make up a delivery, as bytes: section 4.2 of its specification.

    frame             type, channel and size of the payload; the payload; one byte that ends the frame
    a delivery        a method (publish on the way out, deliver on the way in), a content header, the body in pieces
    content header    the body's size, flags that say which properties there are, the properties in the order of flags

aiormq reads and writes all other frames by pamqp, which takes several times as long for a frame as the rest of the way
of a delivery. This file has only what every delivery needs. The tables of headers and the method publish are made and
read by pamqp and kept in a cache, since hardly two of them differ.
"""

import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from struct import Struct
from typing import Any, Final

from pamqp import decode, encode
from pamqp.commands import Basic
from pamqp.frame import marshal

from replicated_log.wire.delivery import Envelope

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3
HEARTBEAT: Final = 8
"""Types of frames."""
HEAD: Final = Struct(">BHI")
"""Type, channel and size."""
END: Final = b"\xce"

DELIVER: Final = bytes((0, 60, 0, 60))
ACK: Final = bytes((0, 60, 0, 80))
NACK: Final = bytes((0, 60, 0, 120))
"""Methods by class and number, with which their payload begins."""
_CONFIRM: Final = Struct(">4sQB")
_MULTIPLE: Final = 1
"""The lowest bit of what follows the number in ack and nack; nack has another one there."""

_CONTENT: Final = Struct(">HHQH")
"""Class, weight (0), the body's size, and the flags."""
_BASIC: Final = 60
_HEADERS: Final = 1 << 13
_DELIVERY_MODE: Final = 1 << 12
_CORRELATION_ID: Final = 1 << 10
_REPLY_TO: Final = 1 << 9
_EXPIRATION: Final = 1 << 8
_MESSAGE_ID: Final = 1 << 7
_TYPE: Final = 1 << 5
_BEFORE_HEADERS: Final = ((1 << 15, 0), (1 << 14, 0))
"""Flag and bytes of a property: none where it is a short string. These two are content type and encoding."""
_AFTER_HEADERS: Final = (
    (_DELIVERY_MODE, 1),
    (1 << 11, 1),  # priority
    (_CORRELATION_ID, 0),
    (_REPLY_TO, 0),
    (_EXPIRATION, 0),
    (_MESSAGE_ID, 0),
    (1 << 6, 8),  # timestamp
    (_TYPE, 0),
    (1 << 4, 0),  # user id
    (1 << 3, 0),  # application id
    (1 << 2, 0),  # cluster id
)
_NO_PROPERTY: Final = 3
"""Bits that are none; the lowest says that more flags follow, of which there are none either."""
_NOT_PERSISTENT: Final = b"\x01"
_SIZE: Final = Struct(">I")


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return b"".join((HEAD.pack(kind, channel, len(payload)), payload, END))


def publish_frames(channel: int, exchange: str, routing_key: str, envelope: Envelope, piece_bytes: int) -> bytes:
    """All frames of a delivery that is published; ``piece_bytes`` of its body at most go into one."""
    body = envelope.body
    return b"".join(
        (
            _publish(channel, exchange, routing_key),
            frame(HEADER, channel, _content_header(envelope)),
            *(frame(BODY, channel, body[at : at + piece_bytes]) for at in range(0, len(body), piece_bytes)),
        )
    )


def settled_up_to(channel: int, number: int) -> bytes:
    """The frame that settles a delivery, and all earlier ones of its channel."""
    return frame(METHOD, channel, _CONFIRM.pack(ACK, number, _MULTIPLE))


def read_confirm(payload: bytes) -> tuple[int, bool]:
    """Which delivery an ack or nack is of, and whether of all earlier ones too."""
    try:
        _, number, bits = _CONFIRM.unpack(payload)
    except struct.error as error:
        raise ValueError(f"a confirm of {len(payload)} bytes") from error
    return number, bool(bits & _MULTIPLE)


def read_deliver(payload: bytes) -> tuple[str, int]:
    """The consumer tag and the number of what is delivered."""
    consumer_tag, at = _short_string(payload, len(DELIVER))
    if len(payload) < at + 8:
        raise ValueError(f"a deliver of {len(payload)} bytes")
    return consumer_tag, int.from_bytes(payload[at : at + 8], "big")


def read_body_size(payload: bytes) -> int:
    """The size of the body that follows a content header."""
    try:
        _, _, size, _ = _CONTENT.unpack_from(payload)
    except struct.error as error:
        raise ValueError(f"a content header of {len(payload)} bytes") from error
    return int(size)


def read_envelope(payload: bytes, body: bytes) -> Envelope:
    """The envelope that a content header and a body make up."""
    _, _, _, flags = _CONTENT.unpack_from(payload)
    if flags & _NO_PROPERTY:
        raise ValueError(f"a content header with flags {flags:#x}")
    texts: dict[int, str] = {}
    at = _read_properties(payload, _CONTENT.size, flags, _BEFORE_HEADERS, texts)
    headers: Mapping[str, Any] = {}
    if flags & _HEADERS:
        end = at + _SIZE.size + int.from_bytes(payload[at : at + _SIZE.size], "big")
        headers, at = _read_table(payload[at:end]), end
    at = _read_properties(payload, at, flags, _AFTER_HEADERS, texts)
    if at != len(payload):
        raise ValueError(f"a content header of {len(payload)} bytes, where {at} were expected")
    return Envelope(
        kind=texts.get(_TYPE, ""),
        body=body,
        headers=headers,
        message_id=texts.get(_MESSAGE_ID),
        correlation_id=texts.get(_CORRELATION_ID),
        reply_to=texts.get(_REPLY_TO),
    )


def _read_properties(
    payload: bytes, at: int, flags: int, properties: Iterable[tuple[int, int]], texts: dict[int, str]
) -> int:
    """Read those that there are, from ``at`` on: the short strings go to ``texts``. Returns where they end."""
    for flag, size in properties:
        if flags & flag:
            if size:
                at += size
            else:
                texts[flag], at = _short_string(payload, at)
    return at


def _content_header(envelope: Envelope) -> bytes:
    flags = _DELIVERY_MODE
    headers = b""
    if envelope.headers:
        flags |= _HEADERS
        headers = _table(tuple(envelope.headers.items()))
    expiration = None if envelope.expiration_s is None else f"{envelope.expiration_s * 1000:.0f}"
    texts = (
        (_CORRELATION_ID, envelope.correlation_id),
        (_REPLY_TO, envelope.reply_to),
        (_EXPIRATION, expiration),
        (_MESSAGE_ID, envelope.message_id),
        (_TYPE, envelope.kind),
    )
    parts = [headers, _NOT_PERSISTENT]
    for flag, text in texts:
        if text is not None:
            flags |= flag
            data = text.encode()
            parts += (bytes((len(data),)), data)
    return _CONTENT.pack(_BASIC, 0, len(envelope.body), flags) + b"".join(parts)


def _short_string(payload: bytes, at: int) -> tuple[str, int]:
    """The one at ``at``, and where it ends."""
    end = at + 1 + payload[at] if at < len(payload) else at
    if not at < end <= len(payload):
        raise ValueError("a text does not come to its end")
    return payload[at + 1 : end].decode(), end


@lru_cache(maxsize=16)
def _publish(channel: int, exchange: str, routing_key: str) -> bytes:
    return marshal(Basic.Publish(exchange=exchange, routing_key=routing_key), channel)


@lru_cache(maxsize=64)
def _table(items: tuple[tuple[str, Any], ...]) -> bytes:
    return encode.field_table(dict(items))


@lru_cache(maxsize=64)
def _read_table(table: bytes) -> Mapping[str, Any]:
    try:
        size, fields = decode.field_table(table)
    except Exception as error:
        raise ValueError(f"a table that can't be read: {error!r}") from error
    if size != len(table):
        raise ValueError(f"a table of {size} bytes in the room of {len(table)}")
    return fields
