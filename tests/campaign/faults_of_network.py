"""What happens to the way between a node and the broker."""

import asyncio
from collections.abc import Sequence
from functools import partial

from tests.campaign.fault import Aim, Fault, Kind, Part
from tests.cluster import eventually
from tests.tcp_proxy import BOTH, TO_BROKER, TO_NODE


async def reset(fault: Fault) -> None:
    """Both ends see their connections reset; new ones can be made at once."""
    fault.target.way.cut()


async def lose(fault: Fault, ways: Sequence[str]) -> None:
    """Nothing arrives any more in these ways, on new connections neither."""
    fault.target.way.hold_all(ways)
    try:
        await fault.lasts(0.5, 5)
    finally:
        _restore(fault)


async def lose_for_long(fault: Fault) -> None:
    fault.target.way.hold_all(fault.random.choice((BOTH, (TO_BROKER,), (TO_NODE,))))
    try:
        await fault.outlasts_all()
    finally:
        _restore(fault)


async def half_open(fault: Fault) -> None:
    """Connections carry nothing any more, and nobody is told: the node has to find out, and make new ones."""
    way = fault.target.way
    old = way.connections()
    way.hold_existing()
    try:
        await eventually(
            lambda: fault.arena.over.is_set() or len(way.connections() - old) >= 2,
            f"{fault.target.name} makes new connections to the broker",
        )
    finally:
        way.release()


async def delay(fault: Fault) -> None:
    fault.target.way.delay_s = fault.random.uniform(0.1, 1.5)
    try:
        await fault.lasts(1, 4)
    finally:
        fault.target.way.delay_s = 0.0


async def flap(fault: Fault) -> None:
    """At uneven intervals, so that each step of making a session is hit once."""
    for _ in range(fault.random.randint(5, 25)):
        fault.target.way.cut()
        await asyncio.sleep(fault.random.uniform(0.01, 0.25))


def _restore(fault: Fault) -> None:
    """Either what was held arrives late, or the connections are found broken."""
    if fault.random.random() < 0.5:
        fault.target.way.cut()
    fault.target.way.release()


KINDS = [
    Kind("way-reset", reset, Aim.ANY, Part.WAY),
    Kind("way-cut", partial(lose, ways=BOTH), Aim.ANY, Part.WAY),
    Kind("way-one-way-to-broker", partial(lose, ways=(TO_BROKER,)), Aim.ANY, Part.WAY),
    Kind("way-one-way-to-node", partial(lose, ways=(TO_NODE,)), Aim.ANY, Part.WAY),
    Kind("way-lost-for-long", lose_for_long, Aim.ANY, Part.WAY),
    Kind("way-half-open", half_open, Aim.ANY, Part.WAY),
    Kind("way-delayed", delay, Aim.ANY, Part.WAY),
    Kind("way-flapping", flap, Aim.ANY, Part.WAY),
]
