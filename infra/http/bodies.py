"""Reading the bodies of requests, within bounds of size and time. The connection counts their bytes."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Sequence, Set
from itertools import islice
from typing import Any, Final, NoReturn

from aiohttp import web

from infra.http.limits import LIMITS
from infra.http.problems import HttpProblem

MAX_BODY_BYTES: Final = 8 << 20
"""A message of 1 MiB may take six times that in JSON."""
MAX_TOKENS: Final = 1000
"""Texts, brackets, colons and commas in JSON that is not small."""
SMALL_JSON: Final = 1 << 16
"""Characters of JSON that may be as complex as they like: what comes of them is small."""

_TOKEN: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{:,]', re.DOTALL)
_NEXT_LINE: Final = ",\n"


async def read_text(request: web.Request, most: int = MAX_BODY_BYTES) -> str:
    """The body as text. Raises HttpProblem unless it is UTF-8 of at most ``most`` bytes, and there in time."""
    charset = (request.charset or "utf-8").lower()
    if charset not in {"utf-8", "utf8", "us-ascii"}:
        raise HttpProblem(415, "unsupported-charset", f"the body must be UTF-8, not {charset[:40]!r}")
    for header, plain in (("Content-Encoding", "identity"), ("Transfer-Encoding", "chunked")):
        encoding = ", ".join(request.headers.getall(header, [plain]))
        if encoding.lower() != plain:
            raise HttpProblem(415, "unsupported-encoding", f"send the body as it is, not as {encoding[:40]!r}")
    body = await _read(request, most)
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise HttpProblem(400, "not-utf-8", f"the body is not UTF-8: {error.reason} at byte {error.start}") from error


async def read_json_object(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object. Raises HttpProblem, saying what is wrong with it."""
    return parse_json_object(await read_text(request))


def parse_json_object(text: str) -> dict[str, Any]:
    """The JSON object that ``text`` is. Raises HttpProblem, saying what is wrong with it."""
    body = parse_json(text)
    if not isinstance(body, dict):
        raise HttpProblem(400, "not-an-object", "the body must be a JSON object")
    return body


def check_fields(body: dict[str, Any], known: Set[str]) -> None:
    """Raise HttpProblem for a field that is not ``known``."""
    if not body.keys() <= known:
        raise HttpProblem(400, "unknown-field", f"unknown field {min(body.keys() - known)[:40]!r}")


def parse_json(text: str) -> Any:
    """The JSON value that ``text`` is. Raises HttpProblem, also for an object that has a field twice."""
    # Few characters make large objects: eight megabytes of brackets would keep everybody waiting for half a second.
    if len(text) > SMALL_JSON and any(islice(_TOKEN.finditer(text), MAX_TOKENS, None)):
        raise HttpProblem(400, "not-json", f"this is too complex: more than {MAX_TOKENS} texts, brackets and commas")
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise HttpProblem(400, "not-json", f"this is not JSON: {str(error)[:200]}") from error


def parse_json_lines(lines: Sequence[str]) -> list[Any] | None:
    """The JSON values that the lines are, read at once; None unless each is one of SMALL_JSON characters at most.

    A line may be part of an array or of an object, so what comes of these is not to be trusted. A text, though, can't
    go on behind the end of its line.
    """
    if max(map(len, lines)) > SMALL_JSON:
        return None
    try:
        values: list[Any] = _DECODER.decode(f"[{_NEXT_LINE.join(lines)}]")
    except (ValueError, RecursionError, HttpProblem):
        return None
    return values if len(values) == len(lines) else None


async def _read(request: web.Request, most: int) -> bytes:
    body_s = request.app[LIMITS].body_s
    too_large = HttpProblem(413, "body-too-large", f"the body is larger than {most} bytes", most_bytes=most)
    if _declared(request) > most:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(body_s):
            async for chunk in request.content.iter_any():
                if len(body) + len(chunk) > most:
                    raise too_large
                body += chunk
    except TimeoutError as error:
        detail = f"the body was not there after {body_s:g} s"
        raise HttpProblem(408, "slow-body", detail, retry="safe") from error
    except web.RequestPayloadError as error:
        raise HttpProblem(400, "broken-body", f"the body can't be read: {str(error)[:200]}") from error
    return bytes(body)


def _declared(request: web.Request) -> int:
    # Zeros may stand before it, more than int() takes, and more digits than matter here.
    return int(request.headers.get("Content-Length", "").lstrip("0")[:12] or "0")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        twice = next(name for name, number in Counter(name for name, _ in pairs).items() if number > 1)
        raise HttpProblem(400, "repeated-field", f"the field {twice[:40]!r} is there more than once")
    return fields


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_without_duplicates)
"""Made once: json.loads would make one for each line of a batch."""
