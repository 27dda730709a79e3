"""Child processes that never outlive this one, however it ends."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO

# Linux ties a child to the thread that forked it, not to the process, so one thread that lives as long as the
# process starts them all: a test may start a broker from a short-lived worker thread.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")
# Started now: a signal handler that raises while the executor starts its thread would leave that waiting for ever.
_spawner.submit(int).result()


def start_child(
    command: Sequence[str | os.PathLike[str]],
    *,
    output: int | IO[bytes],
    env: Mapping[str, str] | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start `command` with stdout and stderr in `output`, in a session of its own: Ctrl-C does not reach it.

    The kernel sends it `death_signal` when this process dies, by kill -9 too (where util-linux's setpriv exists).
    """

    def spawn() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            tied(command, death_signal),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
        )

    return _spawner.submit(spawn).result()


def tied(
    command: Sequence[str | os.PathLike[str]], death_signal: signal.Signals = signal.SIGKILL
) -> list[str | os.PathLike[str]]:
    """`command`, such that it gets `death_signal` when the thread that starts it ends."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", death_signal.name.removeprefix("SIG"), *command] if setpriv else [*command]


def stop_child(process: subprocess.Popen[bytes], *, grace_s: float) -> None:
    """SIGTERM, and SIGKILL to its whole process group after `grace_s` seconds. On return the process is gone."""
    process.terminate()
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        kill_child(process)


def kill_child(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the whole process group. On return the process is gone."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
