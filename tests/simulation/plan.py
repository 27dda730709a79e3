"""What a seed means: a cluster, its weather, what clients ask of it, and what is done to it.

A plan is data, so that a failing one can be shortened. Times are virtual seconds.
"""

from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

FAULTS_END_S: Final = 16.0
MIN_OPERATIONS: Final = 200
MIN_FAULTS: Final = 5

MASTER: Final = "master"

TINY_BOUNDS: Final[dict[str, tuple[int, ...]]] = {
    "secondary.intake.MAX_EARLY_BYTES": (400, 1000),
    "secondary.persist_queue.MAX_PENDING_BYTES": (400, 1000),
    "secondary.persist_queue.MAX_COMMIT_BYTES": (300, 1000),
    "secondary.intake.MAX_DELAYED_ACKS": (3, 10),
    "master.publish_window.MAX_DELIVERY_BYTES": (400, 1000),
    "master.publish_window.MAX_UNCONFIRMED": (1, 3),
    "master.publish_window.MAX_UNPUBLISHED_BYTES": (500, 2000),
    "master.reign.MAX_COMMIT_BATCHES": (1, 3),
    "master.append_queue.MAX_BATCH_RECORDS": (3, 5),
    "master.reign.MAX_WAITING": (15, 60),
    "master.reign.MAX_UNCOMMITTED_BYTES": (350, 1400),
    "master.progress._RECENT_CHAINS": (3, 10),
}
"""The protocol's bounds, by module and name, made so small that a short history meets them."""


@dataclass(frozen=True, slots=True)
class Append:
    time: float
    number: int
    messages: int
    w: int
    timeout: float
    key: int = 0
    """0: without a key."""
    body: int = 0
    """The number of the append that has the same messages; 0: its own."""
    ahead: int | None = None
    """Append only if the log ends so far from where it ends when this is sent."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask whether ``w`` nodes hold some earlier append; ``pick`` in 0..1 says which."""

    time: float
    pick: float
    w: int


@dataclass(frozen=True, slots=True)
class ReadAll:
    time: float
    node: str


Operation = Append | Ask | ReadAll


@dataclass(frozen=True, slots=True)
class Harm:
    """A fault: ``kind`` is a method of faults.Faults; ``how`` in 0..1 is for it to interpret."""

    time: float
    kind: str
    node: str
    duration: float
    how: float

    def __str__(self) -> str:
        return f"{self.kind} {self.node} for {self.duration:.2f} s ({self.how:.2f})"


@dataclass(frozen=True, slots=True)
class Weather:
    """How the world behaves all the time. Delays are means, in seconds; the others are probabilities or bounds."""

    link_delay: float
    disk_delay: float
    slow_disk: float
    lost: float
    doubled: float
    strayed: float
    damaged: float
    confirm_lost: float
    confirm_refused: float
    power_cut: float
    prefetch: int
    queue_bytes: int


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    ack_delay: float = 0.0
    persist_delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    seed: int
    secondaries: tuple[Node, ...]
    observers: tuple[Node, ...]
    late: tuple[str, ...]
    """Nodes that are started for the first time only when the faults end, if no fault starts them before."""
    require_quorum: bool
    weather: Weather
    bounds: dict[str, int]
    load: float
    """Appends a second after the faults have ended; 0: none, so that only beats tell who is behind."""
    operations: tuple[Operation, ...]
    harms: tuple[Harm, ...]
    drill: bool
    """Whether the master loses its past when the faults have ended, if it has not before."""

    def without(self, *, operations: tuple[int, int] = (0, 0), harms: tuple[int, int] = (0, 0)) -> "Plan":
        """The plan without operations and harms of these index ranges."""
        first, last = operations
        begin, end = harms
        return replace(
            self,
            operations=self.operations[:first] + self.operations[last:],
            harms=self.harms[:begin] + self.harms[end:],
        )


_SECONDARY_HARMS: Final = ("wipe", "purge", "delete_queue", "fill_disk")
_ANY_HARMS: Final = ("crash", "crash", "pause", "cut", "cut", "cut_up", "cut_down", "disconnect", "fill_disk")
_BROKER_HARMS: Final = ("restart_broker", "alarm")


def make_plan(seed: int) -> Plan:
    rng = Random(seed)
    tiny = rng.random() < 0.6
    secondaries = tuple(_node(rng, f"node{number}", tiny) for number in range(1, rng.choice((1, 2, 2, 2, 3, 3, 4)) + 1))
    observers = (_node(rng, "observer", tiny),) if rng.random() < 0.08 else ()
    names = [node.name for node in (*secondaries, *observers)]
    return Plan(
        seed=seed,
        secondaries=secondaries,
        observers=observers,
        late=tuple(name for name in names if rng.random() < 0.06),
        require_quorum=rng.random() < 0.15,
        weather=_weather(rng, tiny),
        bounds={name: rng.randint(*bounds) for name, bounds in TINY_BOUNDS.items()} if tiny else {},
        load=0.0 if rng.random() < 0.25 else rng.uniform(5, 15),
        operations=_operations(rng, [MASTER, *names], len(secondaries) + 1),
        harms=_harms(rng, names),
        drill=rng.random() < 0.1,
    )


def _node(rng: Random, name: str, tiny: bool) -> Node:
    ack_delay = rng.uniform(0, 1.5) if rng.random() < 0.25 else 0.0
    persist_delay = rng.uniform(0, 0.05 if tiny else 0.8) if rng.random() < 0.2 else 0.0
    return Node(name, ack_delay, persist_delay)


def _weather(rng: Random, tiny: bool) -> Weather:
    wild: dict[str, Any] = dict.fromkeys(("lost", "doubled", "strayed", "damaged", "confirm_lost"), 0.0)
    if rng.random() < 0.5:
        wild = {name: rng.random() ** 2 * most for name, most in (("lost", 0.1), ("doubled", 0.15), ("strayed", 0.15))}
        wild |= {"damaged": rng.choice((0, 0, 0.02)), "confirm_lost": rng.choice((0, 0, 0.005))}
    return Weather(
        link_delay=rng.choice((0.001, 0.005, 0.02)),
        disk_delay=rng.choice((0.001, 0.005, 0.02)),
        slow_disk=rng.choice((0, 0, 0.01)),
        confirm_refused=rng.choice((0, 0, 0, 0.03)),
        power_cut=rng.choice((0, 0.5, 1)),
        prefetch=rng.choice((1, 4, 16)),
        queue_bytes=rng.choice((600, 2000)) if tiny else 1 << 20,
        **wild,
    )


def _operations(rng: Random, names: list[str], nodes: int) -> tuple[Operation, ...]:
    """Bursts, so that commits gather and queues fill, with lulls between them."""
    operations: list[Operation] = []
    number = 0
    while len(operations) < MIN_OPERATIONS:
        time = rng.uniform(0.1, FAULTS_END_S)
        pace = rng.choice((0.002, 0.02, 0.1))
        for _ in range(rng.randint(1, 12)):
            time += rng.expovariate(1 / pace)
            dice = rng.random()
            if dice < 0.25:
                operations.append(ReadAll(time, rng.choice(names)))
            elif dice < 0.33:
                operations.append(Ask(time, rng.random(), rng.randint(1, nodes)))
            else:
                number += 1
                messages = 1 if rng.random() < 0.85 else rng.randint(2, 3)
                w = rng.choice((1, nodes // 2 + 1, nodes, rng.randint(1, nodes)))
                append = Append(time, number, messages, w, rng.choice((0.02, 0.5, 2, 10, 30)), ahead=_ahead(rng))
                if rng.random() < 0.3:
                    append = replace(append, key=number, body=number, timeout=rng.choice((0.02, 0.5, 2, 5)))
                    others = _others(rng, append)
                    number += len(others)
                    operations.extend(others)
                operations.append(append)
    return tuple(sorted(operations, key=lambda operation: operation.time))


def _ahead(rng: Random) -> int | None:
    return rng.choice((-1, 0, 0, 0, 1, 1, 2)) if rng.random() < 0.2 else None


def _others(rng: Random, append: Append) -> list[Append]:
    """Others that use the same key, at about the same time: for the same messages, or for messages of their own."""
    others = []
    for number in range(append.number + 1, append.number + 1 + rng.choice((0, 0, 1, 2))):
        time = append.time + rng.choice((0.002, 0.05)) * rng.uniform(-0.5, 1)
        body = append.body if rng.random() < 0.7 else number
        others.append(replace(append, time=time, number=number, body=body, ahead=_ahead(rng)))
    return others


def _harms(rng: Random, names: list[str]) -> tuple[Harm, ...]:
    harms: list[Harm] = []
    for _ in range(rng.randint(MIN_FAULTS, 9)):
        dice = rng.random()
        if dice < 0.2:
            kind, node = rng.choice(_BROKER_HARMS), "broker"
        elif dice < 0.45:
            kind, node = rng.choice(_SECONDARY_HARMS), rng.choice(names)
        else:
            kind, node = rng.choice(_ANY_HARMS), rng.choice((MASTER, rng.choice(names)))
        time = rng.uniform(0.2, FAULTS_END_S - 1)
        harms.append(Harm(time, kind, node, rng.choice((0.05, 0.5, 3.0, 8.0)) * rng.random(), rng.random()))
    dice = rng.random()
    if dice < 0.04:
        harms.append(Harm(rng.uniform(1, FAULTS_END_S - 3), "start_over", MASTER, rng.random(), rng.random()))
    elif dice < 0.15:
        # Early ones meet secondaries that have adopted a log, and hold no record of it yet.
        time = rng.uniform(1.2, 4) if rng.random() < 0.25 else rng.uniform(FAULTS_END_S / 2, FAULTS_END_S - 1)
        harms.append(Harm(time, "lose_past", MASTER, rng.uniform(0.05, 2), rng.random()))
        if len(names) > 1 and rng.random() < 0.3:
            harms.append(Harm(time - 1, "absent", rng.choice(names), 0, rng.random()))
    return tuple(sorted(harms, key=lambda harm: harm.time))
