"""``python -m tests.campaign --minutes 3``: break everything that may break, and see that no promise is."""

import argparse
import os
import secrets
import shlex
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.campaign.campaign import Plan, run
from tests.campaign.deck import KINDS
from tests.container_broker import own_broker


def main(arguments: list[str]) -> int:
    # Whatever is open is closed then: a broker's container and small disks would stay.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    plan = _plan(arguments)
    print(f"seed {plan.seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="replog-faults-"))
    broker, which = own_broker(directory / "broker", os.environ.get("BROKER"))
    print(f"RabbitMQ: {which}", flush=True)
    with broker:
        report = uvloop.run(run(plan, broker, directory))
    print("\n".join(report.lines()))
    if not report.violations:
        shutil.rmtree(directory)
        return 0
    again = shlex.join(["python", "-m", "tests.campaign", *arguments])
    print(f"replay: {again}{'' if '--seed' in again else f' --seed {plan.seed}'}\nlogs and data: {directory}")
    return 1


def _plan(arguments: list[str]) -> Plan:
    names = [kind.name for kind in KINDS]
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaign", description=__doc__, epilog=f"Kinds of faults: {', '.join(names)}."
    )
    parser.add_argument("--minutes", type=float, default=3.0, help="how long (default 3)")
    parser.add_argument("--seed", type=int, help="which faults, when (default: random)")
    parser.add_argument(
        "--only", nargs="+", choices=names, default=[], metavar="KIND", help="only these kinds of faults"
    )
    parser.add_argument("--every", type=float, metavar="SECONDS", help="a fault by the clock, healed or not")
    parser.add_argument(
        "--patient", type=int, choices=(1, 2, 3), metavar="W", help="all clients wait for w=W; an error is a violation"
    )
    options = parser.parse_args(arguments)
    seed = secrets.randbits(32) if options.seed is None else options.seed
    return Plan(options.minutes, seed, tuple(options.only), options.every, options.patient)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
