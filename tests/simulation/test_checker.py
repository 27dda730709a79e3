"""The checker against histories written by hand: one that is right, and what may be wrong with it."""

import pytest

from tests.simulation.checker import check
from tests.simulation.history import (
    Answered,
    Cluster,
    DiskSeen,
    Durable,
    End,
    Event,
    Heard,
    Held,
    Opened,
    PastLost,
    Read,
    Record,
    Refused,
    Request,
    TimedOut,
)

A: Record = (1, 1000, "a")
B: Record = (1, 2000, "b")

RIGHT: list[Event] = [
    Cluster(0.0, "master", ("node1",)),
    Opened(0.0, "master", "m", 0),
    Opened(0.0, "node1", "n", 0),
    DiskSeen(0.5, "n"),
    Request(1.0, 1, ("a",), 2),
    Durable(1.1, "m", 0, (A,), "digest a"),
    Durable(1.2, "n", 0, (A,), "digest a"),
    Answered(1.3, 1, 0),
    Request(2.0, 2, ("b",), 1),
    Durable(2.1, "m", 1, (B,), "digest b"),
    Answered(2.2, 2, 1),
    Read(2.3, "n", (A,), 1),
    Durable(2.4, "n", 1, (B,), "digest b"),
    Held(2.5, 2, 2),
    Read(3.0, "m", (A, B), 2),
    Read(3.0, "n", (A, B), 2),
    End(3.0),
]


def broken_by(*changes: tuple[int, Event | None]) -> str | None:
    """The rule that is broken by replacing these events of RIGHT; None leaves one out."""
    history: list[Event | None] = [*RIGHT]
    for at, event in changes:
        history[at] = event
    violation = check(event for event in history if event is not None)
    return violation.rule if violation else None


def test_the_history_is_right() -> None:
    assert broken_by() is None


@pytest.mark.parametrize(
    ("rule", "at", "event"),
    [
        ("agreement", 6, Durable(1.2, "n", 0, ((1, 1001, "a"),), "digest a")),
        ("agreement", 6, Durable(1.2, "n", 0, (A,), "another digest")),
        ("agreement", 12, Durable(2.4, "n", 2, (B,), "digest b")),
        ("unique", 9, Durable(2.1, "m", 1, (A,), "digest b")),
        ("phantom", 4, Request(1.0, 1, ("z",), 2)),
        ("durable", 5, None),
        ("durable", 6, None),
        ("durable", 7, Answered(1.3, 1, 1)),
        ("durable", 10, TimedOut(2.2, 2, 2)),
        ("durable", 12, None),
        ("committed", 11, Read(2.3, "m", (A, B), 2)),
        ("refused", 10, Refused(2.2, 2, "disk full")),
        ("reads", 11, Read(2.3, "n", (A, B), 1)),
        ("reads", 11, Read(2.3, "m", (B,), 1)),
        ("reads", 15, Read(3.0, "n", (), 0)),
        ("lost", 3, Opened(0.5, "n", "n", 1)),
        ("read-only", 10, Refused(2.2, 2, "read-only")),
        ("healing", 15, None),
    ],
)
def test_one_wrong_event_breaks_a_rule(rule: str, at: int, event: Event | None) -> None:
    assert broken_by((at, event)) == rule


K: tuple[Event, ...] = (
    *RIGHT[:4],
    Request(1.0, 1, ("a",), 1, key="k"),
    Request(1.0, 2, ("b",), 1, key="k", if_end=1),
    Request(1.0, 3, ("c",), 1, if_end=1),
    Durable(1.1, "m", 0, (A,), "digest a"),
    Answered(1.2, 1, 0),
    Request(1.3, 4, ("a",), 1, key="k", if_end=0),
)


@pytest.mark.parametrize(
    ("rule", "then"),
    [
        (None, [Answered(1.4, 4, 0)]),
        (None, [Refused(1.4, 2, "key reused"), Refused(1.4, 4, "overloaded")]),
        (None, [Refused(1.4, 3, "end mismatch", 0)]),
        ("if-match", [Refused(1.4, 3, "end mismatch", 1)]),
        ("if-match", [Refused(1.4, 3, "end mismatch", 2)]),
        ("key", [Refused(1.4, 1, "end mismatch", 0)]),
        ("durable", [Answered(1.4, 4, 1)]),
        ("key", [Refused(1.4, 4, "end mismatch", 1)]),
        ("key", [Refused(1.4, 4, "disk full")]),
        ("key", [Refused(1.4, 4, "key reused")]),
        ("key", [Refused(1.4, 3, "key reused")]),
        ("key", [Durable(1.4, "m", 1, (B,), "digest b")]),
        ("unique", [Durable(1.4, "m", 1, (A,), "digest b")]),
        (None, [Durable(1.4, "m", 1, ((1, 2000, "c"),), "digest c"), Answered(1.5, 3, 1)]),
    ],
)
def test_keys_and_conditions(rule: str | None, then: list[Event]) -> None:
    violation = check([*K, *then])
    assert (violation.rule if violation else None) == rule


@pytest.mark.parametrize(
    ("rule", "first", "then"),
    [
        (None, (1, False), (1, True)),
        ("epoch", (2, False), (1, True)),
        ("epoch", (1, False), (2, True)),
        ("replayed", (1, True), (1, True)),
        ("replayed", (1, False), (1, False)),
        ("replayed", (None, None), (None, False)),
        (None, (None, None), (1, True)),
    ],
)
def test_who_is_told_of_an_earlier_append(
    rule: str | None, first: tuple[int | None, bool | None], then: tuple[int | None, bool | None]
) -> None:
    answers = (Answered(1.2, 1, 0, *first), Answered(1.4, 4, 0, *then))
    violation = check([*K[:4], K[4], K[7], answers[0], K[9], answers[1]])
    assert (violation.rule if violation else None) == rule


def test_of_requests_under_way_at_the_same_time_one_has_appended() -> None:
    asked = [Request(1.0, op, ("a",), 1, key="k") for op in (1, 2)]
    stored = Durable(1.1, "m", 0, (A,), "digest a")
    for first, second, broken in ((False, True, False), (True, False, False), (False, False, True), (True, True, True)):
        answers = (Answered(1.2, 1, 0, 1, first), TimedOut(1.2, 2, 0, 1, second))
        violation = check([*RIGHT[:4], *asked, stored, *answers])
        assert (violation is not None and violation.rule == "replayed") == broken
    assert check([*RIGHT[:4], *asked, stored, TimedOut(1.2, 1, None), Answered(1.3, 2, 0, 1, True)]) is None


def test_an_append_lands_where_it_asked_the_log_to_end() -> None:
    asked = Request(1.0, 1, ("a",), 1, if_end=1)
    violation = check([*RIGHT[:4], asked, Durable(1.1, "m", 0, (A,), "digest a"), Answered(1.2, 1, 0)])
    assert violation is not None
    assert violation.rule == "if-match"


def test_what_was_refused_may_be_asked_for_again_with_its_key() -> None:
    first, again = (Request(time, op, ("a",), 1, key="k") for time, op in ((1.0, 1), (1.2, 2)))
    stored = Durable(1.3, "m", 0, (A,), "digest a")
    assert check([*RIGHT[:4], first, Refused(1.1, 1, "disk full"), again, stored, Answered(1.4, 2, 0)]) is None
    violation = check([*RIGHT[:4], first, Refused(1.1, 1, "disk full"), stored])
    assert violation is not None
    assert violation.rule == "refused"


def test_nobody_waits_for_what_all_nodes_are_known_to_have() -> None:
    assert broken_by((7, None)) == "answered"
    assert broken_by((7, None), (13, None)) is None


def test_what_was_asked_for_after_an_answer_comes_after_what_was_answered() -> None:
    history: list[Event] = [
        *RIGHT[:3],
        Request(0.9, 2, ("b",), 1),
        Request(1.0, 1, ("a",), 1),
        Durable(1.1, "m", 0, (A, B), "digest"),
        Answered(1.2, 2, 1),
        Answered(1.4, 1, 0),
    ]
    assert check(history) is None
    violation = check([*history[:4], Request(1.0, 3, ("a",), 1), *history[5:7], Request(1.3, 1, ("a",), 1), history[7]])
    assert violation is not None
    assert violation.rule == "order"


def test_where_a_quorum_is_required_nothing_is_appended_before_it_was_heard() -> None:
    master = Cluster(0.0, "master", ("node1", "node2", "node3"), require_quorum=True)
    opened = [Opened(0.0, node, node, 0) for node in ("master", "node1")]
    asked: list[Event] = [master, *opened, Request(1.0, 1, ("a",), 1)]
    grown = Durable(1.1, "master", 0, (A,), "digest a")
    assert check([*asked, Heard(1.0, "node1"), Heard(1.0, "node2"), grown]) is None
    for heard in ((), ("node1",), ("node1", "observer")):
        violation = check([*asked, *(Heard(1.0, node) for node in heard), grown])
        assert violation is not None
        assert violation.rule == "quorum"
    anew = check([*asked, Heard(1.0, "node1"), Heard(1.0, "node2"), Opened(1.0, "master", "master", 0), grown])
    assert anew is not None
    assert anew.rule == "quorum"


def test_latency_must_have_passed_before_an_answer_counts_a_node() -> None:
    slow = Cluster(0.0, "master", ("node1",), ack_delays=(("node1", 0.2),))
    assert broken_by((0, slow)) == "latency"
    assert broken_by((0, slow), (7, Answered(1.4, 1, 0)), (13, None)) is None


def test_a_master_that_lost_its_past_in_good_weather_does_not_grow() -> None:
    lost = [*RIGHT[:-1], PastLost(4.0, "m2", 1, calm=True), Opened(4.1, "master", "m2", 1), Request(4.2, 3, ("c",), 1)]
    grown = Durable(4.3, "m2", 1, ((2, 4200, "c"),), "digest c")
    assert check(lost) is None
    violation = check([*lost, grown])
    assert violation is not None
    assert violation.rule == "read-only"
    assert check([*lost[:-3], PastLost(4.0, "m2", 1), *lost[-2:], grown]) is None
