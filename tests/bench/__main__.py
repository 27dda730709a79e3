"""``python -m tests.bench --quick --out DIR``: the log, its limits and its durable peers, measured side by side."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from infra.broker.broker import BrokerError
from tests.bench.bench import Bench, tell
from tests.bench.chart import draw
from tests.bench.experiments import EXPERIMENTS
from tests.bench.load import LoadError
from tests.bench.machine import described, is_in_memory
from tests.bench.peer import MissingPeerError
from tests.bench.plan import FULL, QUICK, SMOKE
from tests.bench.report import report

# What a contestant that does not work may end in; AssertionError is what waiting for a condition does.
_FAILURES = (LoadError, BrokerError, AssertionError, OSError, aiohttp.ClientError, subprocess.SubprocessError)


def main(arguments: list[str]) -> int:
    # All that runs is ended then, and its data removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = _options(arguments)
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    if is_in_memory(out) and options.plan is not SMOKE:
        sys.exit(f"{out} is in memory, where an fsync costs nothing: choose another directory by --out")
    machine = described(out)
    data = Path(tempfile.mkdtemp(prefix="data-", dir=out))
    try:
        with Bench(options.plan, data) as bench:
            for name in options.only or EXPERIMENTS:
                _run(bench, name)
                page = _write(bench, machine, out)  # Every time, so that one may look before the end.
    except KeyboardInterrupt:
        shutil.rmtree(data)
        return 130
    print(page)
    if bench.results.failed:
        tell(f"logs and data: {data}")
        return 1
    shutil.rmtree(data)
    return 0


def _run(bench: Bench, name: str) -> None:
    """One experiment, which does not end the others when it fails."""
    tell(f"== {name}")
    os.sync()  # What the ones before have left to write is not this one's.
    try:
        EXPERIMENTS[name](bench)
    except MissingPeerError as error:
        bench.results.missing[name] = str(error)
        tell(f"  missing: {error}")
    except _FAILURES as error:
        bench.results.failed[name] = f"{type(error).__name__}: {error}"
        tell(f"  failed: {error!r}")
        bench.renounce_ours()


def _write(bench: Bench, machine: Mapping[str, str], out: Path) -> str:
    """Write the report on what has been measured so far, and return it."""
    chart = "benchmark.png" if bench.results.curves else None
    if chart:
        draw(bench.results.curves, out / chart)
    page = report(bench.results, bench.plan, machine, chart)
    (out / "benchmark.md").write_text(page + "\n")
    return page


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, epilog=f"Experiments: {', '.join(EXPERIMENTS)}."
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--quick", dest="plan", action="store_const", const=QUICK, help="less of everything, in under 5 minutes"
    )
    length.add_argument(
        "--smoke",
        dest="plan",
        action="store_const",
        const=SMOKE,
        help="only see that it works: no figure means anything",
    )
    parser.set_defaults(plan=FULL)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("bench-report"),
        metavar="DIR",
        help="for the report, and the data meanwhile: on a real disk (default: bench-report)",
    )
    parser.add_argument(
        "--only", nargs="+", choices=EXPERIMENTS, default=[], metavar="NAME", help="only these experiments"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
