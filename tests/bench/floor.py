"""One client at once, and the floor below it: what its request must wait for, each measured alone."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from tests.bench import goals
from tests.bench.bench import Bench
from tests.bench.limits.amqp_round_trip import amqp_round_trip
from tests.bench.limits.empty_app import EmptyApp
from tests.bench.limits.fdatasync import fdatasync
from tests.bench.ours import ALL
from tests.bench.results import Row, milliseconds, rate_and_latencies, spread

_OURS: Final = "ours"
_AMQP: Final = "AMQP round trip"
_FDATASYNC: Final = "fdatasync of 4 KiB"
_OVERWRITING: Final = "fdatasync of 4 KiB, overwriting"


def floor(bench: Bench) -> None:
    """The master's and a secondary's fsync come one after the other; the other secondary's runs beside.

    A log overwrites its journal from one checkpoint to the next, so what counts is the cheaper fdatasync.
    """
    seconds = bench.plan.seconds
    directory = bench.directory("limits")
    with EmptyApp(bench.directory("empty-app")) as empty:
        runs = bench.alternate(
            f"one client, w={ALL}, and what it waits for",
            {
                _OURS: partial(bench.ours.singles, ALL, 1, seconds),
                EmptyApp.name: partial(empty.singles, 1, seconds),
                _FDATASYNC: partial(fdatasync, directory, seconds),
                _OVERWRITING: partial(fdatasync, directory, seconds, growing=False),
                _AMQP: partial(amqp_round_trip, bench.ours.broker.amqp_url, directory, seconds),
            },
        )
    ours = runs.pop(_OURS)
    for name, its in runs.items():
        bench.add(Row(f"limit: {name}, one at a time", rate_and_latencies(its)))
    floor_s = _floor_s({name: its.p50_s for name, its in runs.items()})
    rounds = range(len(ours.loads))
    floors_s = [_floor_s({name: its.loads[number].p50_s for name, its in runs.items()}) for number in rounds]
    bench.add(
        Row(
            f"p50 of a single POST, w={ALL}, 1 client",
            milliseconds(ours.p50_s),
            f"the floor: {milliseconds(floor_s)}",
            ours.p50_s / floor_s,
            spread([load.p50_s / its for load, its in zip(ours.loads, floors_s, strict=True)]),
            goals.ONE_CLIENT_AGAINST_FLOOR,
        )
    )


def _floor_s(p50_s: Mapping[str, float]) -> float:
    return p50_s[EmptyApp.name] + 2 * p50_s[_OVERWRITING] + p50_s[_AMQP]
