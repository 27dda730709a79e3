"""Run a plan, check its history, and shorten the plan of a history that breaks a promise."""

from dataclasses import dataclass, replace

from tests.simulation.checker import Violation, check
from tests.simulation.clients import Clients
from tests.simulation.faults import Faults
from tests.simulation.history import Event
from tests.simulation.plan import Plan, make_plan
from tests.simulation.world import World


@dataclass(frozen=True, slots=True)
class Outcome:
    plan: Plan
    history: list[Event]
    violation: Violation | None


def run_plan(plan: Plan) -> Outcome:
    world = World(plan)
    faults = Faults(world)
    clients = Clients(world, faults)
    world.start(clients)
    history = world.run()
    return Outcome(plan, history, check(history))


def run_seed(seed: int) -> Outcome:
    return run_plan(make_plan(seed))


def shorten(failed: Outcome, *, tries: int = 400) -> Outcome:
    """A smaller plan whose history breaks the same rule: leave out halves, quarters, single harms and operations."""
    assert failed.violation is not None
    rule = failed.violation.rule
    best = replace(failed)
    for what in ("harms", "operations", "harms"):
        size = max(len(getattr(best.plan, what)) // 2, 1)
        while size and tries:
            first = 0
            while first < len(getattr(best.plan, what)) and tries:
                tries -= 1
                span = (first, first + size)
                shorter = run_plan(
                    best.plan.without(harms=span) if what == "harms" else best.plan.without(operations=span)
                )
                if shorter.violation is not None and shorter.violation.rule == rule:
                    best = shorter
                else:
                    first += size
            size //= 2
    return best
