"""What a client asks of a node's log, read from the query."""

import re
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from infra.http.problems import HttpProblem, check_query

MAX_OFFSET: Final = (1 << 63) - 1
DEFAULT_TIMEOUT_S: Final = 10.0
MAX_TIMEOUT_S: Final = 3600.0

LOCAL: Final = "local"
COMMITTED: Final = "committed"
_OF_EVERY_READ: Final = ("consistency", "min_offset", "timeout")

_WHOLE: Final = re.compile(r"-?[0-9]{1,19}")
_DECIMAL: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class ReadQuery:
    """What every reader may ask for.

    ``committed``: show only what a majority holds. ``min_offset``: show nothing until this record can be shown, and
    wait for it no longer than ``timeout_s`` seconds.
    """

    committed: bool
    min_offset: int | None
    timeout_s: float


def read_query(request: web.Request, *others: str) -> ReadQuery:
    """What a request asks for. Raises HttpProblem for values that make no sense, and for parameters not in ``others``.

    Those of :class:`ReadQuery` are always allowed.
    """
    check_query(request, (*others, *_OF_EVERY_READ))
    consistency = request.query.get("consistency", LOCAL)
    if consistency not in {LOCAL, COMMITTED}:
        detail = f"consistency must be {LOCAL} or {COMMITTED}, not {consistency[:40]!r}"
        raise HttpProblem(400, "invalid-consistency", detail)
    return ReadQuery(
        committed=consistency == COMMITTED,
        min_offset=whole_number(request, "min_offset", least=0, most=MAX_OFFSET),
        timeout_s=asked_timeout(request, DEFAULT_TIMEOUT_S),
    )


def whole_number(request: web.Request, name: str, *, least: int, most: int) -> int | None:
    """A whole number from the query; None when it is not there. Raises HttpProblem for other text, or out of range."""
    text = request.query.get(name)
    if text is None:
        return None
    number = int(text) if _WHOLE.fullmatch(text) else None
    if number is None or not least <= number <= most:
        detail = f"{name} must be a whole number from {least} to {most}, not {text[:40]!r}"
        raise HttpProblem(400, f"invalid-{name.replace('_', '-')}", detail)
    return number


def asked_start(request: web.Request) -> int | None:
    """``from``: an offset, or, when negative, a number of records before the end; None when it is not there."""
    return whole_number(request, "from", least=-MAX_OFFSET, most=MAX_OFFSET)


def asked_timeout(request: web.Request, default_s: float) -> float:
    """``timeout`` in seconds. Raises HttpProblem when it is not above 0, or above MAX_TIMEOUT_S."""
    text = request.query.get("timeout")
    if text is None:
        return default_s
    if _DECIMAL.fullmatch(text) and 0 < float(text) <= MAX_TIMEOUT_S:
        return float(text)
    raise invalid_timeout(text)


def invalid_timeout(asked: object) -> HttpProblem:
    detail = f"timeout must be seconds above 0, up to {MAX_TIMEOUT_S:g}, not {str(asked)[:40]!r}"
    return HttpProblem(400, "invalid-timeout", detail)
