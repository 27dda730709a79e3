"""What a node lets its HTTP clients take of it: time, memory and connections."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for all connections, and for one. The tests shorten them."""

    connections: int = 10_000
    bodies_bytes: int = 128 << 20
    """Of all requests that are not answered yet, their heads included."""
    line_bytes: int = 8192
    """Of the request's first line, and of each header field."""
    fields: int = 100
    """Header fields of a request."""
    header_s: float = 10.0
    """From the first byte of a request to the end of its header."""
    body_s: float = 10.0
    """For the whole body."""
    idle_s: float = 60.0
    """Without a request."""
    stuck_s: float = 60.0
    """In which the client takes nothing of what is to be sent."""


LIMITS: Final = web.AppKey("limits", Limits)
