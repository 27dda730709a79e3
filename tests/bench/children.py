"""The processes of one contestant, and programs that are run to their end; none of them outlives the benchmark."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from infra.broker.broker import end_of, wait_until
from infra.broker.child_process import kill_child, start_child, stop_child
from tests.bench.load import LoadError

_STARTING_S: Final = 60.0
_STOPPING_S: Final = 10.0

Argument = str | os.PathLike[str]
Command = Sequence[Argument]


class Children:
    """Processes that are started one by one and stopped together. All methods block."""

    def __init__(self, logs: Path) -> None:
        """What each process writes is in a file of ``logs``, which exists."""
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Command, *, death_signal: signal.Signals = signal.SIGKILL) -> None:
        """Start ``command``; it gets ``death_signal`` when this process dies."""
        with self._log(name).open("ab") as log:
            self._running[name] = start_child(command, output=log, death_signal=death_signal)

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Start them in here: if that fails, those that run are stopped."""
        try:
            yield
        except BaseException:
            self.stop()
            raise

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Raises LoadError when ``condition`` doesn't come to hold, or when one of the processes ends before."""
        if wait_until(condition, while_=lambda: self._ended() is None, timeout_s=_STARTING_S):
            return
        ends = [f"{name}'s output ends with\n{end_of(self._log(name))}" for name in self._running]
        what = f"{ended} has ended" if (ended := self._ended()) else f"not up after {_STARTING_S:.0f} s"
        raise LoadError("\n".join([what, *ends]))

    def stop(self, first: signal.Signals = signal.SIGKILL) -> None:
        """On return all are gone; they get ``first`` at once, and SIGKILL when that takes them long."""
        for process in self._running.values():
            process.send_signal(first)
        while self._running:
            stop_child(self._running.popitem()[1], grace_s=_STOPPING_S)

    def _ended(self) -> str | None:
        return next((name for name, process in self._running.items() if process.poll() is not None), None)

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"


def output_of(command: Command, *, timeout_s: float) -> str:
    """What ``command`` writes until it ends. Raises LoadError when it fails, or takes longer than ``timeout_s``."""
    # Into a file: Python without buffers (PYTHONUNBUFFERED) loses the rest of what a pipe does not take at once.
    with TemporaryFile() as output:
        process = start_child(command, output=output)
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout_s)
        finally:
            kill_child(process)
        output.seek(0)
        written = output.read().decode(errors="replace")
    if process.returncode != 0:
        raise LoadError(f"{Path(command[0]).name} ended with {process.returncode}: {written[-1000:]}")
    return written
