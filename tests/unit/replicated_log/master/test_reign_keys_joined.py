"""Rules 9 and 10 of a reign: appends that stand behind another one with their key."""

import pytest

import replicated_log.master.reign
from replicated_log.master.append_queue import MESSAGE_OVERHEAD_BYTES
from replicated_log.master.decisions import Appended, Commit, FindKey, KeyReused, NotAppended, Reached, Replayed
from replicated_log.master.reign import OverloadedError
from replicated_log.wire.batch import append_size
from tests.unit.builders import make_ack, only
from tests.unit.driven_reign import heard_reign
from tests.unit.reign_with_keys import DAMAGED, END, ask, commit, conflict, in_log, not_found, outcomes


@pytest.mark.parametrize("joins", ["during the lookup", "in line", "during the commit"])
def test_others_with_a_key_on_its_way_join_it_or_reuse_it(joins: str) -> None:
    reign = heard_reign("node1")
    ask(reign, "blocks the line")
    assert len(only(reign.decisions(), Commit)) == 1

    def join() -> None:
        ask(reign, "same", "text", key="k", w=2)
        ask(reign, "other", "another text", key="k")
        assert only(reign.decisions(), FindKey) == []

    ask(reign, "first", "text", key="k")
    assert only(reign.decisions(), FindKey) == [FindKey("k")]
    if joins == "during the lookup":
        join()
    reign.key_found("k", None, 0.0)
    if joins == "in line":
        join()
    reign.committed()
    (due,) = only(reign.decisions(), Commit)
    if joins == "during the commit":
        join()
    reign.committed()
    decisions = reign.decisions()
    assert outcomes(decisions) == [Appended("first", 1), Replayed("same", 1, 1), KeyReused("other")]
    assert only(decisions, Reached) == [Reached(["first"])]
    assert reign.waiting == 1
    reign.receive(make_ack(due.batches[-1].end), 0.0)
    assert only(reign.decisions(), Reached) == [Reached(["same"])]


def test_other_keys_are_not_held_up() -> None:
    reign = heard_reign()
    ask(reign, "a", key="k1")
    ask(reign, "b", key="k2")
    reign.key_found("k2", None, 0.0)
    assert commit(reign) == [Appended("b", 0)]
    reign.key_found("k1", None, 0.0)
    assert commit(reign) == [Appended("a", 1)]


@pytest.mark.parametrize("gone", ["before the lookup", "in line", "during the commit"])
def test_a_client_that_goes_away_leaves_its_key_claimed(gone: str) -> None:
    reign = heard_reign()
    ask(reign, "first", "text", key="k")
    if gone == "before the lookup":
        reign.forget("first")
    not_found(reign)
    if gone == "in line":
        reign.forget("first")
    assert len(only(reign.decisions(), Commit)) == 1
    if gone == "during the commit":
        reign.forget("first")
    ask(reign, "again", "text", key="k")
    assert only(reign.decisions(), FindKey) == []
    reign.committed()
    assert outcomes(reign.decisions()) == [Replayed("again", 0, 1)]
    assert reign.waiting == 0


def test_a_forgotten_joiner_is_not_told_and_does_not_wait() -> None:
    reign = heard_reign("node1")
    ask(reign, "first", "text", key="k")
    ask(reign, "same", "text", key="k", w=2)
    ask(reign, "other", "another", key="k")
    reign.forget("same")
    reign.forget("other")
    not_found(reign)
    assert commit(reign) == [Appended("first", 0)]
    assert reign.waiting == 0


# Rule 10: a refusal uses up no key.


def test_a_full_disk_refuses_all_who_stand_behind_a_key_and_frees_it() -> None:
    reign = heard_reign()
    ask(reign, "first", "text", key="k")
    ask(reign, "same", "text", key="k")
    ask(reign, "other", "another", key="k")
    not_found(reign)
    assert len(only(reign.decisions(), Commit)) == 1
    reign.commit_refused()
    assert outcomes(reign.decisions()) == [NotAppended(waiter, None) for waiter in ("first", "same", "other")]
    assert reign.waiting == 0

    ask(reign, "later", "another", key="k")
    not_found(reign)
    assert commit(reign) == [Appended("later", 0)]


def test_a_conflict_refuses_all_who_stand_in_line_and_behind_and_frees_their_keys() -> None:
    reign = heard_reign("node1")
    ask(reign, "committing", "text", key="k1")
    ask(reign, "in line", "text", key="k2")
    reign.key_found("k1", None, 0.0)
    assert len(only(reign.decisions(), Commit)) == 1
    reign.key_found("k2", None, 0.0)
    ask(reign, "behind k1", "text", key="k1")
    ask(reign, "behind k2", "text", key="k2")
    why = conflict(reign)
    assert outcomes(reign.decisions()) == [NotAppended("in line", why), NotAppended("behind k2", why)]
    reign.committed()
    assert outcomes(reign.decisions()) == [Appended("committing", 0), Replayed("behind k1", 0, 1)]
    assert reign.waiting == 0


def test_an_overloaded_master_claims_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicated_log.master.reign, "MAX_WAITING", 1)
    reign = heard_reign()
    ask(reign, "plain")
    with pytest.raises(OverloadedError):
        ask(reign, "first", "text", key="k")
    commit(reign)
    ask(reign, "later", "another", key="k")
    not_found(reign)
    assert commit(reign) == [Appended("later", 1)]


def test_all_who_wait_for_a_key_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicated_log.master.reign, "MAX_WAITING", 3)
    reign = heard_reign("node1", end=END)
    for waiter in ("a", "b"):
        ask(reign, waiter, "old", key="k", w=2)
    reign.wait("c", 0, 2)
    assert reign.waiting == 3
    with pytest.raises(OverloadedError):
        ask(reign, "d", "old", key="k")
    with pytest.raises(OverloadedError):
        reign.wait("d", 0, 1)
    reign.forget("c")
    reign.key_found("k", in_log("k", "old"), 0.0)
    assert reign.waiting == 2
    ask(reign, "d", "old", key="k")


@pytest.mark.parametrize("end", ["committed", "refused", "replayed", "unreadable", "mismatch"])
def test_the_bytes_of_all_who_wait_for_a_key_are_counted_and_free_once_they_are_decided(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = append_size([b"text"], "k") + MESSAGE_OVERHEAD_BYTES
    assert size > append_size([b"text"]) + MESSAGE_OVERHEAD_BYTES + 1
    monkeypatch.setattr(replicated_log.master.reign, "MAX_UNCOMMITTED_BYTES", 2 * size)
    reign = heard_reign(end=END)
    for round_ in range(2):
        if_end = 99 if end == "mismatch" else None
        for waiter in ("a", "b"):
            ask(reign, f"{waiter}{round_}", "text", key="k", if_end=if_end)
        with pytest.raises(OverloadedError, match=f"{2 * size} bytes"):
            ask(reign, "c", "text", key="k")
        if end == "replayed":
            reign.key_found("k", in_log("k", "text"), 0.0)
        elif end == "unreadable":
            reign.key_unreadable("k", DAMAGED)
        else:
            not_found(reign)
            reign.decisions()
        if end == "committed":
            reign.committed()
        elif end == "refused":
            reign.commit_refused()
        assert reign.waiting == 0
        reign.decisions()
