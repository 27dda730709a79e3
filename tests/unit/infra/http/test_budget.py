"""How many bytes of requests are in memory at once."""

from infra.http.budget import Budget


def test_bytes_beyond_the_bound_are_not_counted_until_others_are_gone() -> None:
    budget = Budget(100)
    assert budget.move(60)
    assert not budget.move(41)
    assert budget.held == 60
    assert budget.move(40)
    assert budget.move(-60)
    assert budget.held == 40
    assert budget.move(41)


def test_a_refusal_says_that_the_same_request_may_be_sent_again() -> None:
    problem = Budget(0).overloaded()
    assert (problem.status, problem.code, problem.appended, problem.retry) == (503, "overloaded", "no", "safe")
    assert problem.headers == {"Retry-After": "1"}
