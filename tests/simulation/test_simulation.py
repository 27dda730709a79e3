import pytest

from tests.simulation.checker import check
from tests.simulation.history import from_lines, to_lines
from tests.simulation.plan import MIN_FAULTS, MIN_OPERATIONS, make_plan
from tests.simulation.run import run_plan, run_seed

SEEDS = 200
AT_ONCE = 25
FEW = 50
"""Seeds that are run where there is no time for more."""


@pytest.mark.parametrize(
    "first",
    [
        *range(0, FEW, AT_ONCE),
        *(pytest.param(first, marks=pytest.mark.slow) for first in range(FEW, SEEDS, AT_ONCE)),
    ],
)
def test_no_history_breaks_a_promise(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        violation = run_seed(seed).violation
        assert violation is None, f"make simulate SEEDS=1 FROM={seed}: {violation}"


def test_a_seed_is_one_history() -> None:
    assert run_seed(7).history == run_seed(7).history


def test_a_plan_has_operations_and_faults_enough() -> None:
    for seed in range(50):
        plan = make_plan(seed)
        assert len(plan.operations) >= MIN_OPERATIONS
        assert len(plan.harms) >= MIN_FAULTS
        assert 1 <= len(plan.secondaries) <= 4


def test_a_history_can_be_written_down_and_checked_later() -> None:
    history = run_seed(3).history
    read_back = list(from_lines(to_lines(history)))
    assert read_back == history
    assert check(read_back) is None


def test_a_plan_without_faults_and_operations_still_ends() -> None:
    plan = make_plan(5)
    assert run_plan(plan.without(harms=(0, len(plan.harms)), operations=(0, len(plan.operations)))).violation is None
