"""What clients ask of the master. A request that makes no sense is refused here, before anything is appended."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from aiohttp import web

from infra.http.bodies import check_fields, parse_json_object, read_json_object, read_text
from infra.http.head import Headers
from infra.http.problems import HttpProblem, check_query
from master.messages import check_batch, encoded, message_in, read_lines
from node.http.reading.query import MAX_TIMEOUT_S, asked_timeout, invalid_timeout
from replicated_log.wire.idempotency import MAX_KEY_LENGTH, is_key
from replicated_log.write_concern import InvalidWriteConcernError, clamp, resolve, split_prefix

DEFAULT_TIMEOUT_S: Final = 60.0

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
TEXT: Final = "text/plain"

_FIELDS: Final = frozenset({"message", "w", "timeout"})
_NUMBER: Final = (int, float)
_NUMBER_OR_WORD: Final = (int, str)
"""Tuples, as int | str would be made anew for each request."""
_ETAG: Final = re.compile(r'"(0|[1-9][0-9]{0,18})"')


@dataclass(frozen=True, slots=True)
class Cluster:
    """How many nodes are configured, master included, and the write concern of a request that asks for none."""

    nodes: int
    default_w: str


@dataclass(frozen=True, slots=True)
class Concern:
    """A write concern, ``asked`` in the client's words, ``w`` as a number; and how long to wait for it."""

    asked: str
    w: int
    timeout_s: float


@dataclass(slots=True)  # Not frozen, which would make one take three times as long.
class Write:
    """A request to append ``messages``, which fit into one batch: all, or nothing.

    ``key`` is its idempotency key. ``if_end``: only if the log ends there.
    """

    messages: list[bytes]
    concern: Concern
    key: str | None
    if_end: int | None


async def read_write(request: web.Request, cluster: Cluster) -> Write:
    """The native form, in any of its three media types. Raises HttpProblem."""
    form = request.content_type
    if form not in {JSON, NDJSON, TEXT}:
        raise HttpProblem(415, "unsupported-media-type", f"send {JSON}, {NDJSON} or {TEXT}")
    key, if_end = _key(request.headers), _if_end(request.headers)
    if form == JSON:
        check_query(request, ())
        return _json_write(await read_json_object(request), key, if_end, cluster)
    concern = read_concern(request, cluster)
    messages = await read_lines(request) if form == NDJSON else [encoded(await read_text(request))]
    check_batch(messages, key)
    return Write(messages, concern, key, if_end)


def direct_writes(headers: Headers, cluster: Cluster) -> Callable[[bytes], Write | None] | None:
    """A function that reads the bodies of requests with these headers; None unless the headers say plain JSON.

    It returns None for a body that is not UTF-8. Both raise HttpProblem.
    """
    if headers.get("Content-Type") != JSON:
        return None
    key, if_end = _key(headers), _if_end(headers)

    def read(body: bytes) -> Write | None:
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return None
        return _json_write(parse_json_object(text), key, if_end, cluster)

    return read


def _json_write(body: dict[str, Any], key: str | None, if_end: int | None, cluster: Cluster) -> Write:
    check_fields(body, _FIELDS)
    concern = _concern(cluster, body.get("w", cluster.default_w), body.get("timeout", DEFAULT_TIMEOUT_S))
    # One message always fits into a batch, with its key.
    return Write([encoded(message_in(body))], concern, key, if_end)


async def read_seed_write(request: web.Request, cluster: Cluster) -> tuple[Write, str]:
    """The seed's form, and the message in it: JSON or text, ``w=2`` before the text or beside it; numbers are clamped.

    Unknown fields are ignored. Raises HttpProblem.
    """
    key, if_end = _key(request.headers), _if_end(request.headers)
    asked: object = None
    timeout: object = DEFAULT_TIMEOUT_S
    if request.content_type == JSON:
        body = await read_json_object(request)
        message = message_in(body)
        timeout = body.get("timeout", DEFAULT_TIMEOUT_S)
        if "w" in body:
            asked = body["w"]
        else:
            asked, message = split_prefix(message)
    elif request.content_type == TEXT or "Content-Type" not in request.headers:
        asked, message = split_prefix(await read_text(request))
    else:
        raise HttpProblem(415, "unsupported-media-type", f"send {JSON} or {TEXT}")
    concern = _concern(cluster, cluster.default_w if asked is None else asked, timeout, rule=clamp)
    return Write([encoded(message)], concern, key, if_end), message


def read_concern(request: web.Request, cluster: Cluster) -> Concern:
    """The write concern in the query, which may say nothing else. Raises HttpProblem."""
    check_query(request, ("w", "timeout"))
    timeout_s = asked_timeout(request, DEFAULT_TIMEOUT_S)
    return _concern(cluster, request.query.get("w", cluster.default_w), timeout_s)


def _concern(
    cluster: Cluster, asked: object, timeout: object, *, rule: Callable[[int | str, int], int] = resolve
) -> Concern:
    if not isinstance(asked, _NUMBER_OR_WORD) or isinstance(asked, bool):
        raise HttpProblem(400, "invalid-w", f"w must be a number, 'majority' or 'all', not {str(asked)[:40]}")
    if not isinstance(timeout, _NUMBER) or isinstance(timeout, bool) or not 0 < timeout <= MAX_TIMEOUT_S:
        raise invalid_timeout(timeout)
    try:
        return _known_concern(asked, cluster.nodes, float(timeout), rule)
    except InvalidWriteConcernError as error:
        raise HttpProblem(400, "invalid-w", str(error), nodes=cluster.nodes) from error


@lru_cache(maxsize=64, typed=True)
def _known_concern(asked: int | str, nodes: int, timeout_s: float, rule: Callable[[int | str, int], int]) -> Concern:
    """Kept, since clients hardly ever ask for another one than before. Raises InvalidWriteConcernError."""
    return Concern(str(asked), rule(asked, nodes), timeout_s)


def _key(headers: Headers) -> str | None:
    key = _single_header(headers, "Idempotency-Key")
    if key is not None and not is_key(key):
        detail = f"the Idempotency-Key must be 1 to {MAX_KEY_LENGTH} printable ASCII characters"
        raise HttpProblem(400, "invalid-idempotency-key", detail)
    return key


def _if_end(headers: Headers) -> int | None:
    """What If-Match says. Of the forms that HTTP has, only that of one strong tag makes sense for the end of a log."""
    tag = _single_header(headers, "If-Match")
    if tag is None:
        return None
    if not (match := _ETAG.fullmatch(tag)):
        detail = f'If-Match must be one end offset in quotes, as "7", not {tag[:40]!r}'
        raise HttpProblem(400, "invalid-if-match", detail)
    return int(match[1])


def _single_header(headers: Headers, name: str) -> str | None:
    values = headers.getall(name, ())
    if len(values) > 1:
        raise HttpProblem(400, f"invalid-{name.lower()}", f"the request has {name} more than once")
    return values[0] if values else None
