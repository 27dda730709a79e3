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
