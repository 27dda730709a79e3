"""A check of SQLite's write-ahead journal, before SQLite reads it: is it torn at its end, or damaged before that?

SQLite takes the first frame with a wrong checksum for the journal's end, and ignores the frames after it. After a crash
this is right, for a crash tears the last commit at most. But if more commits are after it, which were on disk, they
would be lost in silence, or stale pages served in the place of newer ones.
"""

import sys
from contextlib import closing
from pathlib import Path
from typing import Final

from replicated_log.storage.log_reader import LogReader, database
from replicated_log.wire.errors import CorruptLogError

_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24
_MAGIC: Final = 0x377F0682 | (sys.byteorder == "big")
"""The lowest bit says in which order the checksums take the bytes of a word: that of the machine that wrote it."""
PAGE_BYTES: Final = 4096
"""SQLite's default."""
FRAME_BYTES: Final = _FRAME_HEADER_BYTES + PAGE_BYTES


def refuse_damaged_journal(directory: Path) -> None:
    """Raise CorruptLogError when what was on disk in the journal of the log in ``directory`` would be cut off.

    Changes nothing there but SQLite's shared memory. The directory's node may be running.
    """
    at = damaged_at(directory)
    # The journal of a running node may change while it is read. Damage stays.
    if at is None or at != damaged_at(directory):
        return
    fault = f"{journal(directory).name} is damaged at byte {at}, and commits after that were on disk"
    with closing(LogReader.open(directory)) as reader:
        raise CorruptLogError(reader.sound_end().offset, fault)


def damaged_at(directory: Path) -> int | None:
    """The byte at which the journal's first damaged frame begins (0: its header); None when it is whole or torn.

    A frame's checksum goes on from that of the frame before, and a commit is synced before the next frame is written
    (as the header is before the first). So, after a frame that does not check, a pair of a commit's last frame and
    a frame that goes on from it shows that everything up to the commit was on disk. A torn commit has no such pair,
    nor have leftovers: of a commit that was rolled back, or, by their salts, of the time before the journal was reset.

    Damage looks like a torn end in two places: in the last commit, and in the last frame's header of the one before.

    The format is that of https://www.sqlite.org/fileformat2.html#the_write_ahead_log
    """
    try:
        file = journal(directory).open("rb")
    except FileNotFoundError:
        return None
    with file:
        header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES:
            return None
        checks = header[:4] == _MAGIC.to_bytes(4, "big") and _checksum(bytes(8), header[:24]) == header[24:]
        page_bytes = int.from_bytes(header[8:12], "big") if checks else PAGE_BYTES
        salts = header[16:24] if checks else None
        damaged = None if checks else 0
        at, previous, after_commit = _HEADER_BYTES, header[24:], True
        while len(frame := file.read(_FRAME_HEADER_BYTES + page_bytes)) == _FRAME_HEADER_BYTES + page_bytes:
            salts = salts or frame[8:16]
            checks = frame[8:16] == salts and _checksum(previous, frame[:8] + frame[24:]) == frame[16:24]
            if damaged is None and not checks:
                damaged = at
            if damaged is not None and checks and after_commit:
                return damaged
            at, previous, after_commit = at + len(frame), frame[16:24], frame[4:8] != bytes(4)
    return None


def journal(directory: Path) -> Path:
    path = database(directory)
    return path.with_name(f"{path.name}-wal")


def _checksum(before: bytes, data: bytes) -> bytes:
    """SQLite's: two sums over pairs of 32-bit words, each going on from the other, and from those ``before``."""
    one, other = int.from_bytes(before[:4], "big"), int.from_bytes(before[4:], "big")
    pairs = iter(memoryview(data).cast("I"))
    for first, second in zip(pairs, pairs, strict=True):
        one = one + other + first & 0xFFFFFFFF
        other = other + one + second & 0xFFFFFFFF
    return one.to_bytes(4, "big") + other.to_bytes(4, "big")
