"""Whole responses as bytes, for what is not answered by the library."""

import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

_STATUS_LINES: Final = {int(status): f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


def header_lines(headers: Mapping[str, str]) -> str:
    """Each header as a line, with its end. Names and values are the caller's own, never a client's."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


def response_bytes(status: int, headers: str, body: bytes) -> bytes:
    """A response with these headers, each a line, and those that the library adds to its own: length and date."""
    lines = f"{headers}Content-Length: {len(body)}\r\n{_date_line(int(time.time()))}"
    return f"{_STATUS_LINES[status]}{lines}\r\n".encode() + body


@lru_cache(maxsize=2)
def _date_line(second: int) -> str:
    return f"Date: {formatdate(second, usegmt=True)}\r\n"
