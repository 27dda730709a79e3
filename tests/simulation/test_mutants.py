import pytest

from replicated_log.master.waiters import Waiters
from tests.simulation import mutants  # noqa: F401 - plants the bugs
from tests.simulation.run import run_seed, shorten
from tests.simulation.surgery import MUTANTS, hunt

QUICK = (
    "ack before fsync",
    "publish before own fsync",
    "the same secondary is counted twice",
    "a gap is skipped after drop-head",
    "a redelivered batch is stored twice",
    "waiters are lost on reconnect",
    "a waiter is answered one record too early",
    "reading shows an uncommitted tail as committed",
    "keys are forgotten at a restart",
    "who comes with a key that is on its way does not wait for it",
    "a refusal uses up its key",
    "where the log should end is judged on arrival",
)


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_bug_is_caught(name: str) -> None:
    assert hunt(name, seeds=50).violation is not None


def test_there_are_many_planted_bugs() -> None:
    assert len(MUTANTS) >= 20


def test_a_failing_plan_is_shortened_and_still_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Waiters.pop_reached
    monkeypatch.setattr(Waiters, "pop_reached", lambda waiters, held_by: real(waiters, lambda w: held_by(w) + 1))
    failed = run_seed(0)
    assert failed.violation is not None
    short = shorten(failed, tries=40)
    assert short.violation is not None
    assert short.violation.rule == failed.violation.rule
    assert len(short.plan.operations) < len(failed.plan.operations)
