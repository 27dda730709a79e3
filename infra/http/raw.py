"""Whole responses as bytes, for what is not answered by the library."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE

_STATUS_LINES: Final = {int(status): f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_SERVER: Final = f"Server: {SERVER_SOFTWARE}\r\n"


def header_lines(headers: Mapping[str, str]) -> str:
    """Each header as a line, with its end. Names and values are the caller's own, never a client's."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


def response_bytes(status: int, headers: str, body: bytes) -> bytes:
    """A response with these headers, each a line, and those that the library adds to its own."""
    lines = f"{headers}Content-Length: {len(body)}\r\nDate: {rfc822_formatted_time()}\r\n{_SERVER}"
    return f"{_STATUS_LINES[status]}{lines}\r\n".encode() + body
