"""The master's HTTP facade: POST / (the seed's form) and POST /messages."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from infra.http import HttpProblem, accepts_json, json_response, read_json_object, read_text
from master.replicator import Copies, NotCommittedError, NotReachedError, Replicator
from replicated_log.batch import MAX_MESSAGE_BYTES
from replicated_log.log import DiskFullError
from replicated_log.reign import OverloadedError, ReadOnlyError
from replicated_log.write_concern import ALL, InvalidWriteConcernError, clamp, majority, resolve, split_prefix

DEFAULT_TIMEOUT_S: Final = 60.0
MAX_TIMEOUT_S: Final = 3600.0

REPLICATOR: Final = web.AppKey("replicator", Replicator)


@dataclass(frozen=True, slots=True)
class Write:
    """A checked request to append. ``asked`` is the write concern in the client's words, ``w`` as a number."""

    message: bytes
    asked: object
    w: int
    timeout_s: float


def add_facade(app: web.Application, replicator: Replicator) -> None:
    app[REPLICATOR] = replicator
    app.router.add_post("/", post_seed)
    app.router.add_post("/messages", post_message)
    app.router.add_get("/health", show_health)


async def post_seed(request: web.Request) -> web.Response:
    """The seed's form: JSON or text, ``w=2`` before the text or beside it; any number is clamped to 1..n."""
    replicator = request.app[REPLICATOR]
    asked, message, timeout_s = await _read_seed_form(request)
    write = Write(_checked(message), asked, _w(clamp, asked, replicator), timeout_s)
    copies = await _append(replicator, write)
    if accepts_json(request):
        return json_response(_outcome(replicator, write, copies))
    return web.Response(text=f"Message received: {message}")


async def post_message(request: web.Request) -> web.Response:
    """The native form: a JSON object with message, and w and timeout (seconds) if wanted."""
    replicator = request.app[REPLICATOR]
    if request.content_type != "application/json":
        raise HttpProblem(415, "unsupported-media-type", "send application/json")
    body = await read_json_object(request)
    if unknown := body.keys() - {"message", "w", "timeout"}:
        raise HttpProblem(400, "unknown-field", f"unknown field {min(unknown)[:40]!r}")
    asked = body.get("w", ALL)
    message = _checked(_message_field(body))
    write = Write(message, asked, _w(resolve, asked, replicator), _timeout(body.get("timeout", DEFAULT_TIMEOUT_S)))
    copies = await _append(replicator, write)
    location = {"Location": f"/messages/{copies.offset}"}
    return json_response(_outcome(replicator, write, copies), status=201, headers=location)


async def show_health(request: web.Request) -> web.Response:
    """How the master sees each configured secondary, and whether it may append."""
    reign = request.app[REPLICATOR].reign
    now = time.monotonic()
    return json_response(
        {
            "alive": reign.progress.alive(now),
            "majority": majority(reign.progress.nodes),
            "nodes": reign.progress.nodes,
            "read_only": reign.read_only(now),
            "secondaries": {name: node.health(now).value for name, node in reign.progress.secondaries.items()},
        }
    )


async def _append(replicator: Replicator, write: Write) -> Copies:
    """Append, or say by a problem what became of the message. Here the log's errors get their HTTP status."""
    try:
        return await replicator.append([write.message], w=write.w, timeout_s=write.timeout_s)
    except ReadOnlyError as error:
        raise HttpProblem(503, "read-only", str(error)) from error
    except OverloadedError as error:
        raise HttpProblem(503, "overloaded", str(error), headers={"Retry-After": "1"}) from error
    except DiskFullError as error:
        raise HttpProblem(507, "disk-full", str(error)) from error
    except NotCommittedError as error:
        raise HttpProblem(504, "commit-timeout", str(error), appended="unknown") from error
    except NotReachedError as error:
        copies = error.copies
        acked = [name for name, _ in copies.held_by]
        raise HttpProblem(
            504,
            "write-concern-timeout",
            f"the message was appended at offset {copies.offset} and is being replicated, but after "
            f"{copies.elapsed_ms / 1000:.3g} s it is on {len(acked)} of the {write.w} nodes asked for",
            appended="yes",
            headers={"Location": f"/messages/{copies.offset}"},
            acked=acked,
            missing=copies.missing,
            **_outcome(replicator, write, copies),
        ) from error


def _outcome(replicator: Replicator, write: Write, copies: Copies) -> dict[str, Any]:
    return {
        "offset": copies.offset,
        "epoch": replicator.reign.id.epoch,
        "w": write.w,
        "write_concern": str(write.asked),
        "acks": [{"node": name, "ms": ms} for name, ms in copies.held_by],
        "elapsed_ms": copies.elapsed_ms,
    }


async def _read_seed_form(request: web.Request) -> tuple[object, str, float]:
    """The write concern asked for, the message, and how long to wait. Fields of another time are let pass."""
    timeout_s = DEFAULT_TIMEOUT_S
    if request.content_type == "application/json":
        body = await read_json_object(request)
        message = _message_field(body)
        timeout_s = _timeout(body.get("timeout", DEFAULT_TIMEOUT_S))
        if "w" in body:
            return body["w"], message, timeout_s
    elif request.content_type == "text/plain" or "Content-Type" not in request.headers:
        message = await read_text(request)
    else:
        raise HttpProblem(415, "unsupported-media-type", "send application/json or text/plain")
    asked, message = split_prefix(message)
    return (ALL if asked is None else asked), message, timeout_s


def _message_field(body: dict[str, Any]) -> str:
    if "message" not in body:
        raise HttpProblem(400, "no-message", "the field 'message' is missing")
    message = body["message"]
    if not isinstance(message, str):
        raise HttpProblem(400, "invalid-message", "'message' must be a text")
    return message


def _checked(message: str) -> bytes:
    """The message in UTF-8. Raises HttpProblem when it is empty, too long, or no text that UTF-8 can carry."""
    if not message:
        raise HttpProblem(400, "empty-message", "the message is empty")
    try:
        encoded = message.encode()
    except UnicodeEncodeError as error:
        detail = f"the message has a lone surrogate at character {error.start}"
        raise HttpProblem(400, "invalid-message", detail) from error
    if len(encoded) > MAX_MESSAGE_BYTES:
        detail = f"the message has {len(encoded)} bytes; {MAX_MESSAGE_BYTES} are the most"
        raise HttpProblem(413, "message-too-large", detail)
    return encoded


def _w(rule: Callable[[int | str, int], int], asked: object, replicator: Replicator) -> int:
    if not isinstance(asked, int | str) or isinstance(asked, bool):
        raise HttpProblem(400, "invalid-w", f"w must be a number, 'majority' or 'all', not {str(asked)[:40]}")
    try:
        return rule(asked, replicator.reign.progress.nodes)
    except InvalidWriteConcernError as error:
        raise HttpProblem(400, "invalid-w", str(error)) from error


def _timeout(asked: object) -> float:
    if isinstance(asked, int | float) and not isinstance(asked, bool) and 0 < asked <= MAX_TIMEOUT_S:
        return float(asked)
    raise HttpProblem(
        400, "invalid-timeout", f"timeout must be seconds above 0, up to {MAX_TIMEOUT_S:g}, not {str(asked)[:40]}"
    )
