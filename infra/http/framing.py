"""Where the body of a request ends, followed byte by byte."""

import re
from typing import Final, Protocol

MAX_CHUNK_LINE_BYTES: Final = 256
MAX_OVERHEAD_BYTES: Final = 1 << 14
"""Of what frames the chunks of a body, beyond as much as they contain."""
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED: Final = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
_VALUE: Final = rb"(?:" + _TOKEN + rb"|" + _QUOTED + rb")"
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;" + _TOKEN + rb"(?:=" + _VALUE + rb")?)*+\r\n")


class BrokenBodyError(ValueError):
    """Chunks that are not framed as RFC 9112 wants it, or so small that to follow them costs more than they are worth.

    Chunks are refused, too, when two readers could understand them differently.
    """


class Framing(Protocol):
    """Finds the end of one body. ``has_ended`` says whether it was found."""

    has_ended: bool

    def take(self, data: bytes, begin: int) -> int:
        """How many bytes of ``data``, from ``begin`` on, belong to the body.

        Raises BrokenBodyError, after which this is not to be used any more.
        """


class Length:
    """A body of a length that is known before."""

    __slots__ = ("_left", "has_ended")

    def __init__(self, size: int) -> None:
        self._left = size
        self.has_ended = size == 0

    def take(self, data: bytes, begin: int) -> int:
        taken = min(self._left, len(data) - begin)
        self._left -= taken
        self.has_ended = self._left == 0
        return taken


class Chunks:
    """A body in chunks. Their extensions are ignored, being unknown here (RFC 9112, 7.1.1).

    Trailers are refused: the library would take them for fields of the next request. Invariant: all that was taken is
    at most twice what is in the chunks, and MAX_OVERHEAD_BYTES.
    """

    __slots__ = ("_is_behind_chunk", "_is_last", "_left", "_line", "_overhead_left", "has_ended")

    def __init__(self) -> None:
        self.has_ended = False
        self._left = 0
        """Bytes that are missing of the chunk."""
        self._is_behind_chunk = False
        """The line that comes next ends a chunk, so it must be empty."""
        self._is_last = False
        self._line = b""
        self._overhead_left = MAX_OVERHEAD_BYTES

    def take(self, data: bytes, begin: int) -> int:
        at = begin
        while at < len(data) and not self.has_ended:
            if self._left:
                taken = min(self._left, len(data) - at)
                self._left -= taken
                self._overhead_left += taken
                at += taken
                continue
            end = data.find(b"\n", at) + 1 or len(data)
            self._line += data[at:end]
            self._overhead_left -= end - at
            at = end
            if len(self._line) > MAX_CHUNK_LINE_BYTES:
                raise BrokenBodyError("the size of a chunk is too long")
            if self._overhead_left < 0:
                raise BrokenBodyError("its chunks are too small")
            if self._line.endswith(b"\n"):
                line, self._line = self._line, b""
                self._end_line(line)
        return at - begin

    def _end_line(self, line: bytes) -> None:
        if self._is_behind_chunk or self._is_last:
            if line != b"\r\n":
                raise BrokenBodyError("there is more behind a chunk than its size said")
            self.has_ended = self._is_last
            self._is_behind_chunk = False
            return
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise BrokenBodyError("a chunk does not begin with its size")
        self._left = int(match[1], 16)
        self._is_last = self._left == 0
        self._is_behind_chunk = not self._is_last
