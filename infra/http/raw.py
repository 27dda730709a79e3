"""Whole responses as bytes, for what is not answered by the library."""

from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import Final

from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE

_STATUS_LINES: Final = {int(status): f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


def header_lines(headers: Mapping[str, str]) -> str:
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


def response_bytes(status: int, headers: str, body: bytes) -> bytes:
    """A response with these headers, each a line, and those that the library adds to its own."""
    always = _date_and_server(int(time()))
    return f"{_STATUS_LINES[status]}{headers}Content-Length: {len(body)}\r\n{always}\r\n".encode() + body


@lru_cache(maxsize=1)
def _date_and_server(_: int) -> str:
    """In this second."""
    return header_lines({"Date": rfc822_formatted_time(), "Server": SERVER_SOFTWARE})
