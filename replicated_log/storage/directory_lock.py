"""One data directory, one process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from replicated_log.wire.errors import LogInUseError


@contextmanager
def holding(directory: Path, holder: str) -> Iterator[None]:
    """Hold ``directory`` against every other process. Their errors name ``holder``.

    The lock ends with the process, also with one that is killed. Raises LogInUseError at once when it is held already.
    """
    file = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.pread(file, 200, 0).decode(errors="replace").strip() or "another process"
            raise LogInUseError(f"{directory} is in use by {other}") from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{holder}, process {os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(file)
