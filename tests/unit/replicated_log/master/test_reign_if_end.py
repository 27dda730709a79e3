"""Rule 2 of a reign: appends that ask where the log ends, with a key or without."""

import pytest

from replicated_log.master.decisions import Appended, Commit, EndMismatch, KeyReused, NotAppended, Replayed
from tests.unit.builders import only
from tests.unit.driven_reign import heard_reign
from tests.unit.reign_with_keys import END, ask, commit, not_found, outcomes


def test_who_stands_behind_one_that_the_log_does_not_end_for_takes_its_place_in_line() -> None:
    reign = heard_reign(end=END)
    ask(reign, "first", "text", key="k", if_end=7)
    ask(reign, "second", "another text", key="k", if_end=8)
    ask(reign, "third", "text", key="k", if_end=2)
    ask(reign, "fourth", "text", key="k", if_end=9)
    ask(reign, "fifth", "another text", key="k")
    reign.key_found("k", None, 0.0)
    ask(reign, "plain")
    assert commit(reign) == [
        EndMismatch("first", 2),
        EndMismatch("second", 2),
        Appended("third", 2),
        Replayed("fourth", 2, 1),
        KeyReused("fifth"),
        Appended("plain", 3),
    ]
    assert reign.waiting == 0


def test_a_key_is_free_when_the_log_does_not_end_as_its_only_claimant_asks() -> None:
    reign = heard_reign()
    ask(reign, "first", "text", key="k", if_end=7)
    not_found(reign)
    assert outcomes(reign.decisions()) == [EndMismatch("first", 0)]
    ask(reign, "later", "another", key="k")
    not_found(reign)
    assert commit(reign) == [Appended("later", 0)]


def test_who_is_refused_for_the_end_is_replayed_if_one_behind_is_stored_in_the_same_commit() -> None:
    reign = heard_reign()
    ask(reign, "first", "text", key="k", if_end=7)
    ask(reign, "second", "another text", key="k", if_end=7)
    ask(reign, "third", "text", key="k")
    ask(reign, "before")
    assert only(reign.decisions(), Commit)
    ask(reign, "with")
    reign.key_found("k", None, 0.0)
    reign.committed()
    assert outcomes(reign.decisions()) == [Appended("before", 0)]
    reign.committed()
    assert outcomes(reign.decisions()) == [
        Appended("with", 1),
        Appended("third", 2),
        Replayed("first", 2, 1),
        KeyReused("second"),
    ]
    assert reign.waiting == 0


# Rule 2: where the log should end.


def test_an_append_that_asks_where_the_log_ends_is_there_or_nowhere() -> None:
    reign = heard_reign(end=END)
    for waiter, if_end in (("early", 1), ("right", 2), ("late", 2), ("next", 3), ("beyond", 5)):
        ask(reign, waiter, if_end=if_end)
    decisions = commit(reign)
    assert decisions == [
        EndMismatch("early", 2),
        Appended("right", 2),
        Appended("next", 3),
        EndMismatch("late", 3),
        EndMismatch("beyond", 4),
    ]
    assert reign.waiting == 0


def test_all_messages_before_it_count_whatever_batch_they_are_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replicated_log.master.append_queue.MAX_BATCH_RECORDS", 2)
    reign = heard_reign()
    ask(reign, "two", "a", "b")
    ask(reign, "right", "c", "d", if_end=2)
    ask(reign, "wrong", "e", if_end=2)
    ask(reign, "right again", "f", if_end=4)
    (due,) = only(reign.decisions(), Commit)
    assert [batch.count for batch in due.batches] == [2, 2, 1]
    reign.committed()
    assert outcomes(reign.decisions()) == [
        Appended("two", 0),
        Appended("right", 2),
        Appended("right again", 4),
        EndMismatch("wrong", 4),
    ]


def test_it_is_judged_when_its_turn_comes_and_not_on_arrival() -> None:
    reign = heard_reign()
    ask(reign, "before")
    assert only(reign.decisions(), Commit)
    ask(reign, "as on arrival", if_end=0)
    ask(reign, "as it will be", if_end=1)
    assert reign.decisions() == []
    reign.committed()
    assert outcomes(reign.decisions()) == [Appended("before", 0), EndMismatch("as on arrival", 1)]
    reign.committed()
    assert outcomes(reign.decisions()) == [Appended("as it will be", 1)]


def test_nobody_is_told_of_an_end_that_never_was() -> None:
    reign = heard_reign()
    ask(reign, "before")
    ask(reign, "wrong", if_end=0)
    assert outcomes(reign.decisions()) == []
    reign.commit_refused()
    assert outcomes(reign.decisions()) == [NotAppended("before", None), NotAppended("wrong", None)]
    assert reign.waiting == 0
    ask(reign, "again", if_end=0)
    assert commit(reign) == [Appended("again", 0)]


def test_a_mismatch_alone_makes_no_commit() -> None:
    reign = heard_reign(end=END)
    ask(reign, "wrong", if_end=0)
    assert reign.decisions() == [EndMismatch("wrong", 2)]
    assert reign.waiting == 0


# Bounds.
