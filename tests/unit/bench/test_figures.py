"""The benchmark's arithmetic: who ran when, what many answers amount to, and whether a goal is reached."""

import random
from collections.abc import Callable

import pytest

from tests.bench.goals import Goal, number
from tests.bench.latencies import load_of
from tests.bench.load import Load, LoadError
from tests.bench.results import compared_rates
from tests.bench.rounds import Runs, alternate


def load(rate: float) -> Load:
    return Load(done=1, rate=rate, p50_s=0.001, p99_s=0.002)


def test_contestants_take_turns_and_each_second_round_goes_backwards() -> None:
    order: list[str] = []

    def run(name: str) -> Callable[[], Load]:
        def one() -> Load:
            order.append(name)
            return load(len(order))

        return one

    runs = alternate({name: run(name) for name in "abc"}, 3)
    assert "".join(order) == "abccbaabc"
    assert runs["a"].rates == (1, 6, 7)
    assert runs["a"].rate == 6


@pytest.mark.parametrize("count", [1, 2, 99, 100, 101, 1000])
def test_so_many_percent_of_all_answers_took_a_percentile_at_most(count: int) -> None:
    latencies_s = [random.random() for _ in range(count)]
    its = load_of(latencies_s, seconds=2, records=10)
    for percent, figure_s in ((50, its.p50_s), (99, its.p99_s)):
        enough = (one for one in latencies_s if 100 * sum(other <= one for other in latencies_s) >= percent * count)
        assert figure_s == min(enough)
    assert (its.done, its.rate) == (10 * count, 5 * count)


def test_no_answer_is_no_load() -> None:
    with pytest.raises(LoadError):
        load_of([], seconds=1)


def test_a_rate_is_held_against_the_other_by_medians_and_round_by_round() -> None:
    row = compared_rates("what", Runs((load(2), load(8), load(3))), "peer", Runs((load(4), load(4), load(6))))
    assert row.judged == 3 / 4
    assert row.spread == (0.5, 2)


@pytest.mark.parametrize(
    ("goal", "figure", "verdict"),
    [
        (Goal(0.6, 0.8), 0.8, "stretch met"),
        (Goal(0.6, 0.8), 0.6, "met"),
        (Goal(0.6, 0.8), 0.5, "short by 0.100"),
        (Goal(3, 2, is_limit=True), 2, "stretch met"),
        (Goal(3, 2, is_limit=True), 3, "met"),
        (Goal(3, 2, is_limit=True), 4.5, "short by 1.50"),
        (Goal(1.5, 1.2, is_limit=True), 1.5 + 0.0000647, "short by 0.0000647"),
        (Goal(1.2, is_limit=True), 0.9, "met"),
        (Goal(200_000, 400_000, unit="/s"), 150_000, "short by 50,000/s"),
    ],
)
def test_a_goal_is_met_or_missed_by_so_much(goal: Goal, figure: float, verdict: str) -> None:
    assert goal.verdict(figure) == verdict


@pytest.mark.parametrize(
    ("figure", "read"),
    [(1_234_567.8, "1,234,568"), (99.96, "100"), (12.3, "12.3"), (0, "0.00"), (0.5, "0.500"), (0.0000647, "0.0000647")],
)
def test_a_figure_reads_in_digits_alone(figure: float, read: str) -> None:
    assert number(figure) == read
