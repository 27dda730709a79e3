"""Reads a node's stream of records at next to no cost: what comes is counted, not parsed."""

import re
import socket
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

from tests.bench.load import LoadError

NDJSON: Final = "application/x-ndjson"
EVENTS: Final = "text/event-stream"

LAST_CHUNK: Final = b"\r\n0\r\n\r\n"
_PATIENCE_S: Final = 120.0
_PIECE_BYTES: Final = 1 << 20
_RECORD_END: Final = b"}\n"
"""Ends a record in both forms, and is nowhere else: JSON escapes the line breaks within a message."""
_TAIL_BYTES: Final = 1 << 10
"""Longer than a record of the benchmark, with all that comes after it."""
_OFFSET: Final = re.compile(rb'\{"offset": (\d+), [^\n]*\}\n')


@dataclass(frozen=True, slots=True)
class Read:
    """``records`` came, the last one at ``last_offset``, within ``seconds`` of the request."""

    records: int
    last_offset: int
    seconds: float


class LightReader:
    """GET /messages of a node, from one offset on; a context in which the answer has begun. Raises LoadError."""

    def __init__(self, url: str, form: str, *, start: int) -> None:
        """``form`` is NDJSON, up to the log's end, or EVENTS, which go on."""
        self._url = url
        self._form = form
        self._start = start
        self._open = ExitStack()

    def __enter__(self) -> Self:
        address = urlsplit(self._url)
        with ExitStack() as opening:
            connection = socket.create_connection((address.hostname, address.port), _PATIENCE_S)
            self._socket = opening.enter_context(closing(connection))
            # Closing alone would not wake a thread that reads.
            opening.callback(_shut_down, connection)
            self._asked_at = time.perf_counter()
            self._socket.sendall(
                f"GET /messages?from={self._start} HTTP/1.1\r\n"
                f"Host: {address.netloc}\r\nAccept: {self._form}\r\nConnection: close\r\n\r\n".encode()
            )
            head = b""
            while b"\r\n\r\n" not in head:
                head += self._receive()
            if not head.startswith(b"HTTP/1.1 200 "):
                raise LoadError(f"{self._form} of {self._url} was answered with {head[:500]!r}")
            # With a line break before it, as before every other chunk: the first may be the last.
            self._begun = head[head.index(b"\r\n\r\n") + 2 :]
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def read(self, until: bytes = LAST_CHUNK) -> Read:
        """Read on until the bytes ``until`` have come, a chunk's or a record's last ones. Call it once.

        On return every record from the start to the last one has come.
        """
        records, tail, piece = 0, b"", self._begun
        while True:
            records += piece.count(_RECORD_END) + (tail[-1:] + piece[:1] == _RECORD_END)
            tail = (tail + piece[-_TAIL_BYTES:])[-_TAIL_BYTES:]
            if until in tail:
                break
            piece = self._receive()
        seconds = time.perf_counter() - self._asked_at
        last_offset = int(_OFFSET.findall(tail)[-1]) if records else self._start - 1
        if last_offset != self._start + records - 1:
            raise LoadError(f"from offset {self._start} on, {self._url} gave {records} records, up to {last_offset}")
        return Read(records, last_offset, seconds)

    def _receive(self) -> bytes:
        try:
            piece = self._socket.recv(_PIECE_BYTES)
        except OSError as error:
            raise LoadError(f"{self._url} sent no more of {self._form}: {error!r}") from error
        if not piece:
            raise LoadError(f"{self._url} broke off its {self._form}")
        return piece


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):  # The node may have done so already.
        connection.shutdown(socket.SHUT_RDWR)
