"""``python -m tests.simulation --seeds 1000``: run cluster histories, and show the first ones that break a promise."""

import argparse
import os
import secrets
import sys
from collections.abc import Iterator
from multiprocessing import Pool
from time import monotonic
from typing import Final

from tests.simulation.history import Answered, Broken, Event, Read, Refused, Request, TimedOut
from tests.simulation.run import Outcome, run_seed, shorten

CHUNK: Final = 20
SHOWN_FAILURES: Final = 5
SHOWN_EVENTS: Final = 80
PROGRESS_S: Final = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many histories to run (default 1000)")
    parser.add_argument("--from", dest="first", type=int, help="the first seed (default: one that nobody has tried)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one per core)")
    options = parser.parse_args()
    first = secrets.randbits(40) if options.first is None else options.first
    began = shown = monotonic()
    done, failed = 0, []
    with Pool(options.jobs) as pool:
        for seed, fails in pool.imap_unordered(_fails, range(first, first + options.seeds), CHUNK):
            done += 1
            if fails:
                failed.append(seed)
                print(f"seed {seed}: {fails}", flush=True)
            if monotonic() - shown > PROGRESS_S:
                shown = monotonic()
                print(f"{done} seeds, {done / (shown - began):.0f} a second", flush=True)
    pace = done / (monotonic() - began)
    print(f"{done} seeds from {first}: {len(failed)} break a promise; {pace:.0f} seeds a second")
    for seed in failed[:SHOWN_FAILURES]:
        print("\n".join(explain(seed)))
    return 1 if failed else 0


def explain(seed: int) -> Iterator[str]:
    """What went wrong, how to replay it, and the shortened history."""
    outcome = run_seed(seed)
    yield f"\nseed {seed} breaks a promise. {outcome.violation}"
    yield f"replay: make simulate SEEDS=1 FROM={seed}"
    short = shorten(outcome)
    plan = short.plan
    yield f"shortened to {len(plan.operations)} operations and {len(plan.harms)} faults: {short.violation}"
    yield f"{plan.secondaries} {plan.observers} late: {plan.late}"
    yield f"{plan.weather} {plan.bounds}"
    yield from (f"  {harm.time:9.3f}  {harm}" for harm in plan.harms)
    lines = [f"  {event.time:9.3f}  {_line(event)}" for event in _events(short)]
    if len(lines) > SHOWN_EVENTS:
        yield f"  ... {len(lines) - SHOWN_EVENTS} events before these"
    yield from lines[-SHOWN_EVENTS:]


def _fails(seed: int) -> tuple[int, str | None]:
    violation = run_seed(seed).violation
    return seed, None if violation is None else str(violation)


def _events(outcome: Outcome) -> Iterator[Event]:
    """Up to the violation, and of what clients did only the appends that matter to somebody."""
    assert outcome.violation is not None
    quiet = (Read, Broken, Refused, Request, Answered, TimedOut)
    for event in outcome.history:
        if event.time > outcome.violation.time:
            return
        if not isinstance(event, quiet) or event.time == outcome.violation.time:
            yield event


def _line(event: Event) -> str:
    text = str(event)
    return text if len(text) < 200 else f"{text[:120]} ... {text[-60:]}"


if __name__ == "__main__":
    sys.exit(main())
