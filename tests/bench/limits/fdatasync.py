"""The limit of a disk: how fast one small write after another gets onto it."""

import os
import time
from pathlib import Path
from typing import Final

from tests.bench.latencies import load_of
from tests.bench.load import Load

_BLOCK: Final = bytes(4096)
_OVERWRITTEN_BLOCKS: Final = 4096


def fdatasync(directory: Path, seconds: float, *, growing: bool = True) -> Load:
    """Write one block of 4 KiB after another to a file in ``directory``, each with an fdatasync; blocks are ``done``.

    A ``growing`` file is appended to; in another, what is there already is overwritten again and again, which spares
    the file system the new length. The file is gone on return.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "fdatasync"
    latencies_s: list[float] = []
    try:
        with path.open("wb", buffering=0) as file:
            if not growing:
                file.write(_BLOCK * _OVERWRITTEN_BLOCKS)
                os.fsync(file.fileno())
            began = ended = time.perf_counter()
            while ended < began + seconds:
                if not growing and len(latencies_s) % _OVERWRITTEN_BLOCKS == 0:
                    file.seek(0)
                started = ended
                file.write(_BLOCK)
                os.fdatasync(file.fileno())
                ended = time.perf_counter()
                latencies_s.append(ended - started)
    finally:
        path.unlink(missing_ok=True)
    return load_of(latencies_s, seconds=ended - began)
