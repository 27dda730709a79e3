"""Rules 9 and 10 of a reign: appends with a key; and those that ask where the log ends."""

import pytest

import replicated_log.master.reign
from replicated_log.master.append_queue import MESSAGE_OVERHEAD_BYTES
from replicated_log.master.decisions import (
    Appended,
    Commit,
    Decision,
    EndMismatch,
    FindKey,
    KeyReused,
    KeyUnreadable,
    NotAppended,
    Reached,
    Replayed,
)
from replicated_log.master.reign import OverloadedError, ReadOnlyError, Reign
from replicated_log.wire.batch import START, Position, append_size
from replicated_log.wire.delivery import JOINING
from replicated_log.wire.errors import CorruptLogError
from replicated_log.wire.idempotency import KeyedAppend, digest
from tests.unit.builders import REIGN, make_ack, make_batches, only

OLD = make_batches("old", "older")
END = OLD[-1].end
TOLD = (Appended, Replayed, NotAppended, EndMismatch, KeyReused, KeyUnreadable)
"""What becomes of an append."""
DAMAGED = CorruptLogError(0, "damaged")


def new_reign(*secondaries: str, end: Position = START, require_quorum: bool = False) -> Reign[str]:
    """One that has heard each of its secondaries."""
    reign = Reign[str](REIGN, secondaries, end, require_quorum=require_quorum)
    reign.connected("acks")
    for node in secondaries:
        reign.receive(make_ack(START, node=node, log_id=None, state=JOINING), 0.0)
    return reign


def ask(
    reign: Reign[str], waiter: str, *texts: str, key: str | None = None, if_end: int | None = None, w: int = 1
) -> None:
    messages = [text.encode() for text in texts or (waiter,)]
    reign.append(waiter, messages, w=w, time_ms=1_000, now=0.0, key=key, if_end=if_end)


def told(decisions: list[Decision[str]]) -> list[object]:
    return [decision for decision in decisions if isinstance(decision, TOLD)]


def not_found(reign: Reign[str], key: str = "k") -> None:
    """The log is asked for the key, once, and does not have it."""
    assert only(reign.decisions(), FindKey) == [FindKey(key)]
    reign.key_found(key, None, 0.0)


def commit(reign: Reign[str]) -> list[object]:
    """Do the commit that is due; what its appends are told."""
    (due,) = only(decisions := reign.decisions(), Commit)
    before = told(decisions)
    reign.committed()
    assert due.batches
    return before + told(reign.decisions())


def in_log(key: str, *texts: str, offset: int = 0, epoch: int = 1) -> KeyedAppend:
    return KeyedAppend(key, digest([text.encode() for text in texts]), offset, len(texts), epoch)


def conflict(reign: Reign[str]) -> str:
    reign.receive(make_ack(make_batches(*"vwxyz")[-1].end, reign=None), 0.0)
    assert reign.progress.conflict is not None
    return reign.progress.conflict


# Rule 9: the log is asked for the key.


def test_the_log_is_asked_for_a_key_before_anything_is_appended_with_it() -> None:
    reign = new_reign()
    ask(reign, "a", key="k")
    assert reign.decisions() == [FindKey("k")]
    assert reign.decisions() == []
    reign.key_found("k", None, 0.0)
    (due,) = only(reign.decisions(), Commit)
    assert due.batches[0].keyed_appends == (in_log("k", "a"),)
    reign.committed()
    assert reign.decisions()[1:3] == [Appended("a", 0), Reached(["a"])]
    assert reign.waiting == 0


def test_keys_are_in_the_batch_with_their_appends_and_where_they_are() -> None:
    reign = new_reign(end=END)
    ask(reign, "un-keyed", "x", "y")
    ask(reign, "a", "b", "c", key="k1")
    ask(reign, "d", key="k2")
    reign.key_found("k1", None, 0.0)
    reign.key_found("k2", None, 0.0)
    (due,) = only(reign.decisions(), Commit)
    assert due.batches[0].keyed_appends == (in_log("k1", "b", "c", offset=4), in_log("k2", "d", offset=6))
    assert due.batches[0].messages() == ["x", "y", "b", "c", "d"]


def test_appends_without_a_key_do_not_wait_for_the_lookup_of_one() -> None:
    reign = new_reign()
    ask(reign, "keyed", key="k")
    ask(reign, "plain")
    assert commit(reign) == [Appended("plain", 0)]
    reign.key_found("k", None, 0.0)
    assert commit(reign) == [Appended("keyed", 1)]


def test_what_the_log_has_under_the_key_is_replayed_and_waits_for_the_copies_it_asks_for() -> None:
    reign = new_reign("node1", end=END)
    ask(reign, "one", "old", "older", key="k", w=1)
    ask(reign, "both", "old", "older", key="k", w=2)
    assert reign.decisions() == [FindKey("k")]
    reign.key_found("k", in_log("k", "old", "older", epoch=1), 0.0)
    assert reign.decisions() == [Replayed("one", 0, 1), Replayed("both", 0, 1), Reached(["one"])]
    reign.receive(make_ack(OLD[0].end), 0.0)
    reign.chain_read(1, OLD[0].chain, 0.0)
    assert only(reign.decisions(), Reached) == []
    reign.receive(make_ack(END), 0.0)
    assert only(reign.decisions(), Reached) == [Reached(["both"])]
    assert reign.waiting == 0
    assert reign.progress.end == END


def test_a_replay_tells_the_epoch_of_the_old_record() -> None:
    reign = new_reign(end=END)
    ask(reign, "old", key="k")
    reign.key_found("k", in_log("k", "old", epoch=7), 0.0)
    assert told(reign.decisions()) == [Replayed("old", 0, 7)]


def test_a_key_that_the_log_has_for_other_messages_is_reused() -> None:
    reign = new_reign(end=END)
    for waiter, texts in (("same", ["a", "b"]), ("joined", ["ab"]), ("fewer", ["a"]), ("again", ["a", "b"])):
        ask(reign, waiter, *texts, key="k")
    reign.key_found("k", in_log("k", "a", "b"), 0.0)
    assert told(reign.decisions()) == [
        Replayed("same", 0, 1),
        KeyReused("joined"),
        KeyReused("fewer"),
        Replayed("again", 0, 1),
    ]
    assert reign.waiting == 0


def test_the_log_is_asked_anew_once_a_key_is_decided() -> None:
    reign = new_reign(end=END)
    for _ in range(2):
        ask(reign, "old", key="k")
        assert only(reign.decisions(), FindKey) == [FindKey("k")]
        reign.key_found("k", in_log("k", "old"), 0.0)
        assert told(reign.decisions()) == [Replayed("old", 0, 1)]


def test_the_key_comes_before_where_the_log_should_end() -> None:
    reign = new_reign(end=END)
    ask(reign, "old", key="k", if_end=0)
    reign.key_found("k", in_log("k", "old"), 0.0)
    assert told(reign.decisions()) == [Replayed("old", 0, 1)]


def test_of_a_key_that_can_not_be_read_all_who_come_with_it_are_told_so_and_nobody_else() -> None:
    reign = new_reign()
    ask(reign, "a", key="k")
    ask(reign, "b", key="k")
    ask(reign, "c", key="other")
    ask(reign, "gone", key="k")
    reign.forget("gone")
    reign.key_unreadable("k", DAMAGED)
    reign.key_found("other", None, 0.0)
    assert commit(reign) == [KeyUnreadable("a", DAMAGED), KeyUnreadable("b", DAMAGED), Appended("c", 0)]
    assert reign.waiting == 0
    ask(reign, "again", key="k")
    assert reign.decisions() == [FindKey("k")]


@pytest.mark.parametrize("key", ["", "k" * 256, "a\nb", "é"])
def test_what_can_be_no_key_never_comes_to_the_log(key: str) -> None:
    reign = new_reign()
    with pytest.raises(AssertionError):
        ask(reign, "a", key=key)
    assert reign.decisions() == []


def test_a_read_only_master_replays_what_it_has_and_appends_nothing_else() -> None:
    reign = new_reign("node1", end=END)
    why = conflict(reign)
    ask(reign, "old", key="k1")
    ask(reign, "new", key="k2")
    with pytest.raises(ReadOnlyError):
        ask(reign, "plain")
    reign.key_found("k1", in_log("k1", "old"), 0.0)
    reign.key_found("k2", None, 0.0)
    assert told(reign.decisions()) == [Replayed("old", 0, 1), NotAppended("new", why)]
    assert reign.waiting == 0


def test_without_the_required_quorum_a_key_that_is_not_in_the_log_is_refused() -> None:
    reign = Reign[str](REIGN, ["node1"], END, require_quorum=True)
    ask(reign, "new", key="k")
    reign.key_found("k", None, 100.0)
    (refused,) = only(reign.decisions(), NotAppended)
    assert refused.read_only is not None
    assert "quorum" in refused.read_only


# Rules 9 and 10: others with the same key.


@pytest.mark.parametrize("joins", ["during the lookup", "in line", "during the commit"])
def test_others_with_a_key_on_its_way_join_it_or_reuse_it(joins: str) -> None:
    reign = new_reign("node1")
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
    assert told(decisions) == [Appended("first", 1), Replayed("same", 1, 1), KeyReused("other")]
    assert only(decisions, Reached) == [Reached(["first"])]
    assert reign.waiting == 1
    reign.receive(make_ack(due.batches[-1].end), 0.0)
    assert only(reign.decisions(), Reached) == [Reached(["same"])]


def test_other_keys_are_not_held_up() -> None:
    reign = new_reign()
    ask(reign, "a", key="k1")
    ask(reign, "b", key="k2")
    reign.key_found("k2", None, 0.0)
    assert commit(reign) == [Appended("b", 0)]
    reign.key_found("k1", None, 0.0)
    assert commit(reign) == [Appended("a", 1)]


@pytest.mark.parametrize("gone", ["before the lookup", "in line", "during the commit"])
def test_a_client_that_goes_away_leaves_its_key_claimed(gone: str) -> None:
    reign = new_reign()
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
    assert told(reign.decisions()) == [Replayed("again", 0, 1)]
    assert reign.waiting == 0


def test_a_forgotten_joiner_is_not_told_and_does_not_wait() -> None:
    reign = new_reign("node1")
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
    reign = new_reign()
    ask(reign, "first", "text", key="k")
    ask(reign, "same", "text", key="k")
    ask(reign, "other", "another", key="k")
    not_found(reign)
    assert len(only(reign.decisions(), Commit)) == 1
    reign.commit_refused()
    assert told(reign.decisions()) == [NotAppended(waiter, None) for waiter in ("first", "same", "other")]
    assert reign.waiting == 0

    ask(reign, "later", "another", key="k")
    not_found(reign)
    assert commit(reign) == [Appended("later", 0)]


def test_a_conflict_refuses_all_who_stand_in_line_and_behind_and_frees_their_keys() -> None:
    reign = new_reign("node1")
    ask(reign, "committing", "text", key="k1")
    ask(reign, "in line", "text", key="k2")
    reign.key_found("k1", None, 0.0)
    assert len(only(reign.decisions(), Commit)) == 1
    reign.key_found("k2", None, 0.0)
    ask(reign, "behind k1", "text", key="k1")
    ask(reign, "behind k2", "text", key="k2")
    why = conflict(reign)
    assert told(reign.decisions()) == [NotAppended("in line", why), NotAppended("behind k2", why)]
    reign.committed()
    assert told(reign.decisions()) == [Appended("committing", 0), Replayed("behind k1", 0, 1)]
    assert reign.waiting == 0


def test_an_overloaded_master_claims_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicated_log.master.reign, "MAX_WAITING", 1)
    reign = new_reign()
    ask(reign, "plain")
    with pytest.raises(OverloadedError):
        ask(reign, "first", "text", key="k")
    commit(reign)
    ask(reign, "later", "another", key="k")
    not_found(reign)
    assert commit(reign) == [Appended("later", 1)]


def test_who_stands_behind_one_that_the_log_does_not_end_for_takes_its_place_in_line() -> None:
    reign = new_reign(end=END)
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
    reign = new_reign()
    ask(reign, "first", "text", key="k", if_end=7)
    not_found(reign)
    assert told(reign.decisions()) == [EndMismatch("first", 0)]
    ask(reign, "later", "another", key="k")
    not_found(reign)
    assert commit(reign) == [Appended("later", 0)]


def test_who_is_refused_for_the_end_is_replayed_if_one_behind_is_stored_in_the_same_commit() -> None:
    reign = new_reign()
    ask(reign, "first", "text", key="k", if_end=7)
    ask(reign, "second", "another text", key="k", if_end=7)
    ask(reign, "third", "text", key="k")
    ask(reign, "before")
    assert only(reign.decisions(), Commit)
    ask(reign, "with")
    reign.key_found("k", None, 0.0)
    reign.committed()
    assert told(reign.decisions()) == [Appended("before", 0)]
    reign.committed()
    assert told(reign.decisions()) == [
        Appended("with", 1),
        Appended("third", 2),
        Replayed("first", 2, 1),
        KeyReused("second"),
    ]
    assert reign.waiting == 0


# Rule 2: where the log should end.


def test_an_append_that_asks_where_the_log_ends_is_there_or_nowhere() -> None:
    reign = new_reign(end=END)
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
    reign = new_reign()
    ask(reign, "two", "a", "b")
    ask(reign, "right", "c", "d", if_end=2)
    ask(reign, "wrong", "e", if_end=2)
    ask(reign, "right again", "f", if_end=4)
    (due,) = only(reign.decisions(), Commit)
    assert [batch.count for batch in due.batches] == [2, 2, 1]
    reign.committed()
    assert told(reign.decisions()) == [
        Appended("two", 0),
        Appended("right", 2),
        Appended("right again", 4),
        EndMismatch("wrong", 4),
    ]


def test_it_is_judged_when_its_turn_comes_and_not_on_arrival() -> None:
    reign = new_reign()
    ask(reign, "before")
    assert only(reign.decisions(), Commit)
    ask(reign, "as on arrival", if_end=0)
    ask(reign, "as it will be", if_end=1)
    assert reign.decisions() == []
    reign.committed()
    assert told(reign.decisions()) == [Appended("before", 0), EndMismatch("as on arrival", 1)]
    reign.committed()
    assert told(reign.decisions()) == [Appended("as it will be", 1)]


def test_nobody_is_told_of_an_end_that_never_was() -> None:
    reign = new_reign()
    ask(reign, "before")
    ask(reign, "wrong", if_end=0)
    assert told(reign.decisions()) == []
    reign.commit_refused()
    assert told(reign.decisions()) == [NotAppended("before", None), NotAppended("wrong", None)]
    assert reign.waiting == 0
    ask(reign, "again", if_end=0)
    assert commit(reign) == [Appended("again", 0)]


def test_a_mismatch_alone_makes_no_commit() -> None:
    reign = new_reign(end=END)
    ask(reign, "wrong", if_end=0)
    assert reign.decisions() == [EndMismatch("wrong", 2)]
    assert reign.waiting == 0


# Bounds.


def test_all_who_wait_for_a_key_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicated_log.master.reign, "MAX_WAITING", 3)
    reign = new_reign("node1", end=END)
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
    reign = new_reign(end=END)
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
