"""Appending: ours beside what an empty application and a durable peer do in the same minutes."""

from collections.abc import Callable
from functools import partial
from typing import Final

from infra.rabbitmq.choice import PLAIN
from tests.bench import goals
from tests.bench.bench import Bench
from tests.bench.goals import Goal, PeerGoals
from tests.bench.limits.empty_app import EmptyApp
from tests.bench.load import Load
from tests.bench.ours import ALL, Ours
from tests.bench.peer import Peer
from tests.bench.results import Row, compared_rates, milliseconds, spread
from tests.bench.rounds import Runs

JUDGED_CLIENTS: Final = 64
"""With so many clients at once the goals for single appends are judged."""
BATCH_CLIENTS: Final = 4
OURS: Final = "ours, w={w}"
_PLAIN: Final = "ours, plain AMQP"
_FAST: Final = "ours, fast AMQP"


def singles(bench: Bench) -> None:
    """Single appends at every write concern, beside the empty application."""
    with EmptyApp(bench.directory("empty-app")) as empty:
        for clients in bench.plan.clients:
            contestants: dict[str, Callable[[], Load]] = {
                OURS.format(w=w): partial(bench.ours.singles, w, clients, bench.plan.seconds) for w in range(1, ALL + 1)
            }
            contestants[EmptyApp.name] = partial(empty.singles, clients, bench.plan.seconds)
            runs = bench.alternate(f"single POSTs, {_clients(clients)}", contestants)
            for name, its in runs.items():
                bench.results.curves[name][clients] = its
            _tell_singles(bench, clients, runs)


def _tell_singles(bench: Bench, clients: int, runs: dict[str, Runs]) -> None:
    limit = runs.pop(EmptyApp.name)
    is_judged = clients == JUDGED_CLIENTS
    for w, its in enumerate(runs.values(), 1):
        goal = goals.EMPTY_APP if is_judged and w == ALL else None
        what = f"single POST, w={w}, {_clients(clients)}"
        bench.add(compared_rates(what, its, EmptyApp.name, limit, goal))
    if is_judged:
        bench.add(
            Row(
                f"p99 against p50, w={ALL}, {_clients(clients)}",
                f"p99: {milliseconds(its.p99_s)}",
                f"p50: {milliseconds(its.p50_s)}",
                its.p99_s / its.p50_s,
                spread([load.p99_s / load.p50_s for load in its.loads]),
                goals.P99_AGAINST_P50,
            )
        )


def plain_amqp(bench: Bench) -> None:
    """Single appends and batches, w=3: a log whose deliveries go the plain way, beside the one of all experiments."""
    seconds = bench.plan.seconds
    with Ours(bench.directory("plain"), {"REPLOG_AMQP": PLAIN}) as plain:
        for clients in (1, JUDGED_CLIENTS):
            what = f"single POST, w={ALL}, {_clients(clients)}"
            _ways(bench, what, *(partial(ours.singles, ALL, clients, seconds) for ours in (plain, bench.ours)))
        what = f"batches of 1,000, w={ALL}, {_clients(BATCH_CLIENTS)}, records"
        _ways(bench, what, *(partial(ours.batches, BATCH_CLIENTS, seconds) for ours in (plain, bench.ours)))


def _ways(bench: Bench, what: str, plain: Callable[[], Load], fast: Callable[[], Load]) -> None:
    runs = bench.alternate(what, {_PLAIN: plain, _FAST: fast})
    bench.add(compared_rates(f"{what}, plain AMQP", runs[_PLAIN], _FAST, runs[_FAST]))


def beside(new_peer: Callable[..., Peer], its_goals: PeerGoals, bench: Bench) -> None:
    """Single appends and batches, w=3, beside a peer that runs for this alone."""
    with new_peer(bench.directory("peer")) as peer:
        bench.results.promises[f"{peer.name} {peer.version}"] = peer.promise
        for clients in bench.plan.peer_clients:
            goal = its_goals.singles if clients == JUDGED_CLIENTS else None
            ours = partial(bench.ours.singles, ALL, clients, bench.plan.seconds)
            theirs = partial(peer.singles, clients, bench.plan.seconds)
            what = f"single POST, w={ALL}, {_clients(clients)}"
            runs = _beside(bench, what, ours, peer.name, theirs, goal)
            bench.results.curves[peer.name][clients] = runs[peer.name]
            bench.results.curves[OURS.format(w=ALL)].setdefault(clients, runs[OURS.format(w=ALL)])
        if peer.has_batches:
            ours = partial(bench.ours.batches, BATCH_CLIENTS, bench.plan.seconds)
            theirs = partial(peer.batches, BATCH_CLIENTS, bench.plan.seconds)
            what = f"batches of 1,000, w={ALL}, {_clients(BATCH_CLIENTS)}, records"
            _beside(bench, what, ours, peer.name, theirs, its_goals.batches)


def _beside(
    bench: Bench, what: str, ours: Callable[[], Load], name: str, theirs: Callable[[], Load], goal: Goal | None
) -> dict[str, Runs]:
    runs = bench.alternate(what, {OURS.format(w=ALL): ours, name: theirs})
    bench.add(compared_rates(what, runs[OURS.format(w=ALL)], name, runs[name], goal))
    return runs


def _clients(count: int) -> str:
    return f"{count} client{'s' if count > 1 else ''}"
