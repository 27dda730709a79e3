"""What the head of a request says: read by httptools, and refused where two readers could understand it differently."""

import re
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from infra.http.known_heads import HEAD_END
from infra.http.limits import Limits
from infra.http.problems import HttpProblem

MAX_HEAD_BYTES: Final = 32 << 10
"""Of the request line and all header fields together."""
CHUNKED: Final = -1
"""The length of a body that comes in chunks."""
_MAX_LENGTH_DIGITS: Final = 19
"""Fewer than llhttp's 64 bits can hold, so that no length overflows in the library."""

Headers = CIMultiDictProxy[str]

_EMPTY_LINES: Final = re.compile(rb"(?:\r\n)+")
_VERSIONS: Final = {"1.1": b" HTTP/1.1", "1.0": b" HTTP/1.0"}
"""By what httptools calls them: how they end the request line."""
_TARGET: Final = re.compile(rb"[!-~]+")
_NOT_PLAIN: Final = frozenset(
    {b"connection", b"content-encoding", b"expect", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
_KEEP_ALIVE: Final = b"keep-alive"
_SINGLE: Final = frozenset(
    {
        b"content-length",
        b"content-location",
        b"content-range",
        b"content-type",
        b"etag",
        b"host",
        b"max-forwards",
        b"server",
        b"transfer-encoding",
        b"user-agent",
    }
)
"""Fields of which the library refuses a second one."""


class Head:
    """The head of one request. Two readers who keep to RFC 9112 agree on where a request with this head ends.

    ``size`` is its bytes, the empty line included; ``body_bytes`` the length of the body, or CHUNKED.
    ``is_plain``: it asks for nothing but an answer on a connection that stays open, to a body that is sent as it is.
    """

    __slots__ = ("_fields", "body_bytes", "is_plain", "method", "size", "target")

    def __init__(
        self, size: int, method: bytes, target: bytes, *, is_newer: bool, fields: list[tuple[bytes, bytes]]
    ) -> None:
        """``target`` is printable ASCII, and not empty; ``is_newer``: HTTP/1.1, not 1.0. Raises HttpProblem (400)."""
        self.size = size
        self.method = method.decode()
        self.target = target.decode()
        self._fields = fields
        values = {name.lower(): value for name, value in fields}
        if len(values) < len(fields):
            _check_single(fields)
        if b"host" not in values and is_newer:
            raise bad_request("the header has no field Host")
        self.is_plain = is_newer and (_NOT_PLAIN.isdisjoint(values) or self._only_keeps_alive())
        length = values.get(b"content-length")
        self.body_bytes = 0 if length is None else _length(length)
        if b"transfer-encoding" in values:
            if not is_newer or length is not None:
                raise bad_request("Transfer-Encoding is for HTTP/1.1, and without Content-Length")
            self.body_bytes = _chunked(values[b"transfer-encoding"])
        if b"sec-websocket-key1" in values:
            raise bad_request("it asks for a kind of WebSocket that never became a standard")
        if self.target[0] != "/" or self.method == "CONNECT":
            _check_target(self.method, self.target)
            if self.method == "CONNECT" and self.body_bytes:
                raise bad_request("CONNECT has no body")

    @property
    def headers(self) -> Headers:
        """The fields as aiohttp would give them: bytes that are not UTF-8 are escaped as surrogates."""
        try:
            fields = [(name.decode(), value.decode().rstrip(" \t")) for name, value in self._fields]
        except UnicodeDecodeError:
            fields = [
                (name.decode(), value.decode("utf-8", "surrogateescape").rstrip(" \t")) for name, value in self._fields
            ]
        return CIMultiDictProxy(CIMultiDict(fields))

    def _only_keeps_alive(self) -> bool:
        return all(
            name.lower() not in _NOT_PLAIN or (name.lower() == b"connection" and value.lower() == _KEEP_ALIVE)
            for name, value in self._fields
        )


class _Found:
    """What httptools finds in a head. Were it the reader itself, parser and reader would be a reference cycle."""

    __slots__ = ("fields", "is_whole", "target")

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.is_whole = False

    def on_url(self, piece: bytes) -> None:
        self.target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.is_whole = True


class HeadReader:
    """Reads one head, in as many pieces as it comes. Invariant: its parser is never given a byte behind the head."""

    __slots__ = ("_found", "_limits", "_line_begin", "_parser", "_read")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._found = _Found()
        self._read = 0
        self._line_begin = 0
        """Where the last line begins that was checked."""
        self._parser = HttpRequestParser(self._found)

    def read(self, data: bytes) -> Head | None:
        """The head that ``data`` begins with; None while its end is missing: then call again with more behind it.

        No more than MAX_HEAD_BYTES of ``data`` are looked at.

        Raises HttpProblem: 400 when it is no head, as soon as that is clear, and 431 when it is too large.
        """
        if not self._read and data[:1] in {b"\r", b"\n"}:
            raise bad_request("a request begins with a method")
        end = data.find(HEAD_END, max(0, self._read - len(HEAD_END) + 1), MAX_HEAD_BYTES)
        size = min(len(data), MAX_HEAD_BYTES) if end < 0 else end + len(HEAD_END)
        try:
            self._parser.feed_data(data if not self._read and size == len(data) else data[self._read : size])
        except HttpParserUpgrade:
            pass  # It stops behind the head, as there is no body.
        except HttpParserError as error:
            raise bad_request(str(error)) from error
        self._read = size
        if len(self._found.fields) > self._limits.fields:
            raise bad_request(f"the header has more than {self._limits.fields} fields")
        if size > self._limits.line_bytes:
            self._check_lines(data, size)
        if end < 0:
            if size >= MAX_HEAD_BYTES:
                raise _too_large(f"the request's header exceeds {MAX_HEAD_BYTES} bytes")
            return None
        if not self._found.is_whole:
            raise bad_request("the header does not end where its empty line is")
        return self._head(size, data[: data.index(b"\r\n")])

    def _head(self, size: int, line: bytes) -> Head:
        """``line`` is the request's first. What httptools found in it is taken only if that is the whole line."""
        method, target, version = self._parser.get_method(), self._found.target, self._parser.get_http_version()
        end = _VERSIONS.get(version)
        if end is None or line != method + b" " + target + end or not _TARGET.fullmatch(target):
            raise bad_request("the first line must be a method, a target and HTTP/1.1, each after one blank")
        return Head(size, method, target, is_newer=version == "1.1", fields=self._found.fields)

    def _check_lines(self, data: bytes, size: int) -> None:
        most = self._limits.line_bytes
        # Half of a line's end may be there: it is no part of the line.
        lines = data[self._line_begin : size].removesuffix(b"\r").split(b"\r\n")
        self._line_begin += sum(map(len, lines[:-1])) + len(b"\r\n") * (len(lines) - 1)
        if max(map(len, lines)) > most:
            raise _too_large(f"the request's first line or a header field exceeds {most} bytes")


def behind_empty_lines(data: bytes, begin: int) -> int:
    """Where ``data`` goes on behind the empty lines at ``begin``: some clients send such between requests."""
    lines = _EMPTY_LINES.match(data, begin)
    return begin if lines is None else lines.end()


def bad_request(reason: str) -> HttpProblem:
    """What can't be read as HTTP is refused so."""
    return HttpProblem(400, "bad-request", f"this can't be read as HTTP/1.1: {reason[:200]}")


def _too_large(detail: str) -> HttpProblem:
    return HttpProblem(431, "header-too-large", detail)


def _check_single(fields: list[tuple[bytes, bytes]]) -> None:
    names = [name.lower() for name, _ in fields]
    for name in _SINGLE.intersection(names):
        if names.count(name) > 1:
            raise bad_request(f"the header has the field {name.decode('ascii')} more than once")


def _length(value: bytes) -> int:
    # Zeros may stand before it, more than int() takes.
    digits = value.rstrip(b" \t").lstrip(b"0") or b"0"
    if not digits.isdigit() or len(digits) > _MAX_LENGTH_DIGITS:
        raise bad_request("Content-Length is no number of bytes")
    return int(digits)


def _chunked(value: bytes) -> int:
    codings = [coding.strip(b" \t").lower() for coding in value.split(b",")]
    if codings[-1] != b"chunked" or codings.count(b"chunked") > 1:
        raise bad_request("the end of the body is not to be found by its Transfer-Encoding")
    return CHUNKED


def _check_target(method: str, target: str) -> None:
    if method == "OPTIONS" and target == "*":
        return
    try:
        if method == "CONNECT":
            host = URL.build(authority=target, encoded=True).raw_host
        else:
            authority = target.partition("://")[2]
            host = None if authority[:1] in {"", "/", "?", "#"} else URL(target, encoded=True).raw_host
    except ValueError:
        host = None
    if host is None:
        raise bad_request("its target is no URL")
