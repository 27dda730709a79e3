"""Whole responses as bytes, for what is not answered by the library."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE

_STATUS_LINES: Final = {int(status): f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


def response_bytes(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    """A response with these headers, and those that the library adds to its own."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return (
        f"{_STATUS_LINES[status]}{lines}Content-Length: {len(body)}\r\n"
        f"Date: {rfc822_formatted_time()}\r\nServer: {SERVER_SOFTWARE}\r\n\r\n"
    ).encode() + body
