"""HTTP load by wrk, in one thread."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from infra.broker.child_process import kill_child, start_child
from tests.bench.debian import find_program
from tests.bench.load import Load, LoadError

HERE = Path(__file__).parent
POST = HERE / "post.lua"
"""POSTs a body again and again; arguments: content type, text, how many times the body repeats the text."""
TIMEOUT_S = 30
"""An answer that takes longer is an error."""


def wrk(url: str, script: Path, *, clients: int, seconds: float, arguments: Sequence[str] = ()) -> Load:
    """Let ``script`` load ``url`` over ``clients`` kept connections; ``done`` is in requests.

    A Lua script begins with ``done = require("report")``. wrk's percentiles count the requests that a slow answer
    kept its client from sending, too: it corrects coordinated omission. Raises LoadError unless every answer was below
    400, MissingPeerError without wrk.
    """
    program = find_program("wrk", package="wrk")
    command = [f"{program}", "--threads", "1", "--connections", f"{clients}", "--timeout", f"{TIMEOUT_S}s"]
    # It knows whole seconds only, but reports as well when it is interrupted.
    command += ["--duration", "1h", "--script", f"{script}", url, "--", *arguments]
    environ = {**os.environ, "LUA_PATH": f"{HERE}/?.lua;;"}
    process = start_child(command, output=subprocess.PIPE, env=environ)
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=TIMEOUT_S)
    finally:
        kill_child(process)
    return _load(output.decode(), process.returncode)


def times(load: Load, records: int) -> Load:
    """The same load when each request appended so many records."""
    return Load(load.done * records, load.rate * records, load.p50_s, load.p99_s)


def _load(output: str, exit_code: int) -> Load:
    lines = output.splitlines()
    if exit_code != 0 or not lines or not lines[-1].startswith("{"):
        raise LoadError(f"wrk ended with {exit_code}:\n{output}")
    report: dict[str, int] = json.loads(lines[-1])
    faults = ("bad_statuses", "connect_errors", "read_errors", "write_errors", "timeouts")
    if report["requests"] == 0 or any(report[fault] for fault in faults):
        raise LoadError(f"not every request was answered as it should be: {lines[-1]}")
    rate = report["requests"] / (report["duration_us"] / 1e6)
    return Load(report["requests"], rate, report["p50_us"] / 1e6, report["p99_us"] / 1e6)
