"""What the nodes say to each other, and its form on the wire.

    kind       from       to                         says
    batch      master     fanout exchange            these batches follow what was published before
    beat       master     fanout exchange            I am here, published up to ..., committed up to ...
    ack        secondary  the master's reply queue   I hold everything below acked_end on disk
    fetch      secondary  the master's reply queue   send me what follows this offset
    fetched    master     the secondary's own queue  the stored batches from there on

The kind is the AMQP ``type``. Batches travel as they are stored, with the sending reign in the AMQP headers;
everything else is a JSON object, so that a person can read it in the broker's management UI. Every delivery
carries the version of this protocol as an AMQP header.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

from replicated_log.wire.batch import CHAIN_BYTES, Batch, MalformedBatchError, Position, decode_batches

VERSION: Final = 1
MAX_DELIVERY_BYTES: Final = 4 << 20
"""No delivery's body is longer. RabbitMQ 4 refuses 16 MiB, and a queue silently drops what exceeds its own bound."""

JOINING: Final = "joining"
FOLLOWING: Final = "following"
DIVERGED: Final = "diverged"
"""The states of a secondary: it has no log yet; it follows a master; its log is not the master's and takes nothing."""


_JSON: Final = json.JSONEncoder(separators=(",", ":"))


class MalformedDeliveryError(Exception):
    """Raised by :func:`decode`: no delivery of a kind and version that this program knows, or a damaged one."""


class ReignId(NamedTuple):
    """Names a master's reign: the log, the epoch, and a random id that tells two masters on one log apart."""

    log_id: str
    epoch: int
    reign_id: str


@dataclass(frozen=True, slots=True)
class LiveBatches:
    """Consecutive batches, just committed by the master. ``reply_to`` is the queue that takes acks."""

    reign: ReignId
    batches: tuple[Batch, ...]
    reply_to: str


@dataclass(frozen=True, slots=True)
class Beat:
    """The master is here. It has published up to ``end_offset``; a majority holds everything below ``committed_end``.

    ``number`` counts the beats of the reign, from 1 on.
    """

    reign: ReignId
    number: int
    end_offset: int
    committed_end: int
    reply_to: str


@dataclass(frozen=True, slots=True)
class Ack:
    """A secondary holds everything below ``acked`` on disk. Cumulative and idempotent.

    ``log_id`` is the log it holds (None: none yet), ``epoch`` the highest it has seen of it, and ``reign`` the master
    it follows (None: none yet), so that a master can tell an ack of its own from one meant for another. ``beat`` is
    the number of the newest beat heard of that reign: it tells a node's living disk from a dead one, which hears no
    more beats. ``covers`` names the last batch that is acked, for tracing.
    """

    node: str
    disk_id: str
    log_id: str | None
    epoch: int
    reign: ReignId | None
    beat: int
    acked: Position
    state: str
    covers: str | None = None


@dataclass(frozen=True, slots=True)
class Fetch:
    """A secondary asks for the batches from ``from_offset`` on. ``request_id`` is fresh each time."""

    node: str
    log_id: str | None
    from_offset: int
    request_id: str
    reply_to: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """The answer to one fetch: stored batches from the asked offset on, and how far the master has published."""

    reign: ReignId
    request_id: str
    end_offset: int
    batches: tuple[Batch, ...]


Delivery = LiveBatches | Beat | Ack | Fetch | Fetched


@dataclass(slots=True)  # Not frozen, which would make one take three times as long.
class Envelope:
    """A delivery as the broker carries it: the AMQP properties that are used, and the body."""

    kind: str
    body: bytes
    headers: Mapping[str, Any] = field(default_factory=dict)
    message_id: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration_s: float | None = None


def encode(delivery: Delivery, expires_s: float | None = None) -> Envelope:
    """The envelope of a delivery. A broker drops it when it has waited ``expires_s`` seconds; None: never.

    Only beats may expire: one that waited long says nothing any more.
    """
    assert expires_s is None or isinstance(delivery, Beat)
    match delivery:
        case LiveBatches(reign, batches, reply_to):
            name = f"{batches[0].first_offset}-{batches[-1].end.offset - 1}"
            return Envelope("batch", _join(batches), _headers(reign), name, reply_to=reply_to)
        case Beat(reign, number, end_offset, committed_end, reply_to):
            ends = {"end_offset": end_offset, "committed_end": committed_end}
            body = {**_reign_fields(reign), "number": number, **ends}
            return Envelope("beat", _json(body), _headers(), reply_to=reply_to, expiration_s=expires_s)
        case Ack(node, disk_id, log_id, epoch, reign, beat, acked, state, covers):
            always = _json_of_node(node, disk_id, log_id, epoch, reign, state)
            text = f'{always},"beat":{beat},"acked_end":{acked.offset},"chain":"{acked.chain.hex()}"}}'
            return Envelope("ack", text.encode(), _headers(), correlation_id=covers)
        case Fetch(node, log_id, from_offset, request_id, reply_to):
            body = {"node": node, "log_id": log_id, "from_offset": from_offset}
            return Envelope("fetch", _json(body), _headers(), correlation_id=request_id, reply_to=reply_to)
        case Fetched(reign, request_id, end_offset, batches):
            return Envelope(
                "fetched", _join(batches), {**_headers(reign), "end_offset": end_offset}, correlation_id=request_id
            )


def decode(envelope: Envelope) -> Delivery:
    """The delivery in an envelope. Raises MalformedDeliveryError when this program can't have sent it."""
    if len(envelope.body) > MAX_DELIVERY_BYTES:
        raise MalformedDeliveryError(f"{len(envelope.body)} bytes are more than a delivery may have")
    try:
        version = envelope.headers.get("version")
        _check_numbers(version)
        if version != VERSION:
            raise MalformedDeliveryError(f"a version other than {VERSION}")
        return _decode(envelope)
    except (MalformedBatchError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise MalformedDeliveryError(f"{envelope.kind!r}: {error}") from error


def _decode(envelope: Envelope) -> Delivery:
    match envelope.kind:
        case "batch":
            batches = tuple(decode_batches(envelope.body))
            if not batches:
                raise MalformedDeliveryError("no batch in it")
            return LiveBatches(_reign(envelope.headers), batches, _text(envelope.reply_to))
        case "beat":
            body = json.loads(envelope.body.decode())
            _check_numbers(body["number"], body["end_offset"], body["committed_end"])
            return Beat(
                reign=_reign(body),
                number=body["number"],
                end_offset=body["end_offset"],
                committed_end=body["committed_end"],
                reply_to=_text(envelope.reply_to),
            )
        case "ack":
            body = json.loads(envelope.body.decode())
            log_id, reign, chain = body["log_id"], body["reign"], body["chain"]
            _check_texts(body["node"], body["disk_id"], "" if log_id is None else log_id, body["state"], chain)
            _check_numbers(body["epoch"], body["beat"], body["acked_end"])
            return Ack(
                node=body["node"],
                disk_id=body["disk_id"],
                log_id=log_id,
                epoch=body["epoch"],
                reign=None if reign is None else _reign(reign),
                beat=body["beat"],
                acked=Position(body["acked_end"], _chain(chain)),
                state=body["state"],
                covers=envelope.correlation_id,
            )
        case "fetch":
            body = json.loads(envelope.body.decode())
            log_id = body["log_id"]
            _check_texts(body["node"], "" if log_id is None else log_id)
            _check_numbers(body["from_offset"])
            return Fetch(
                node=body["node"],
                log_id=log_id,
                from_offset=body["from_offset"],
                request_id=_text(envelope.correlation_id),
                reply_to=_text(envelope.reply_to),
            )
        case "fetched":
            end_offset = envelope.headers["end_offset"]
            _check_numbers(end_offset)
            batches = tuple(decode_batches(envelope.body))
            return Fetched(_reign(envelope.headers), _text(envelope.correlation_id), end_offset, batches)
        case _:
            raise MalformedDeliveryError(f"no such kind of delivery: {envelope.kind!r}")


@lru_cache(maxsize=4)
def _json_of_node(node: str, disk_id: str, log_id: str | None, epoch: int, reign: ReignId | None, state: str) -> str:
    """The fields that a node's acks have in common, as the beginning of a JSON object."""
    fields = {
        "node": node,
        "disk_id": disk_id,
        "log_id": log_id,
        "epoch": epoch,
        "reign": _reign_fields(reign) if reign else None,
        "state": state,
    }
    return _JSON.encode(fields).removesuffix("}")


@lru_cache(maxsize=4)
def _headers(reign: ReignId | None = None) -> Mapping[str, Any]:
    return {"version": VERSION, **(_reign_fields(reign) if reign else {})}


def _reign_fields(reign: ReignId) -> dict[str, Any]:
    return {"log_id": reign.log_id, "epoch": reign.epoch, "reign_id": reign.reign_id}


def _reign(fields: Mapping[str, Any]) -> ReignId:
    reign = ReignId(fields["log_id"], fields["epoch"], fields["reign_id"])
    _check_texts(reign.log_id, reign.reign_id)
    _check_numbers(reign.epoch)
    return reign


def _join(batches: tuple[Batch, ...]) -> bytes:
    return batches[0].data if len(batches) == 1 else b"".join(batch.data for batch in batches)


def _json(body: Mapping[str, Any]) -> bytes:
    return _JSON.encode(body).encode()


def _text(value: str | None) -> str:
    _check_texts(value)
    assert value is not None
    return value


def _check_texts(*values: object) -> None:
    for value in values:
        if not isinstance(value, str) or len(value) > 255:
            raise TypeError(f"not a short text: {type(value).__name__}")


def _check_numbers(*values: object) -> None:
    for value in values:
        if type(value) is not int or not 0 <= value < 1 << 63:
            raise TypeError(f"not a number from 0 to 2^63: {type(value).__name__}")


def _chain(text: str) -> bytes:
    chain = bytes.fromhex(text)
    if len(chain) != CHAIN_BYTES:
        raise ValueError(f"a chain of {len(chain)} bytes")
    return chain
