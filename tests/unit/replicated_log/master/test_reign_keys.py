"""Rules 9 and 10 of a reign: appends with a key."""

import pytest

from replicated_log.master.decisions import (
    Appended,
    Commit,
    FindKey,
    KeyReused,
    KeyUnreadable,
    NotAppended,
    Reached,
    Replayed,
)
from replicated_log.master.reign import ReadOnlyError, Reign
from tests.unit.builders import REIGN, make_ack, only
from tests.unit.driven_reign import heard_reign
from tests.unit.reign_with_keys import (
    DAMAGED,
    END,
    OLD,
    ask,
    commit,
    conflict,
    in_log,
    outcomes,
)


def test_the_log_is_asked_for_a_key_before_anything_is_appended_with_it() -> None:
    reign = heard_reign()
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
    reign = heard_reign(end=END)
    ask(reign, "un-keyed", "x", "y")
    ask(reign, "a", "b", "c", key="k1")
    ask(reign, "d", key="k2")
    reign.key_found("k1", None, 0.0)
    reign.key_found("k2", None, 0.0)
    (due,) = only(reign.decisions(), Commit)
    assert due.batches[0].keyed_appends == (in_log("k1", "b", "c", offset=4), in_log("k2", "d", offset=6))
    assert due.batches[0].messages() == ["x", "y", "b", "c", "d"]


def test_appends_without_a_key_do_not_wait_for_the_lookup_of_one() -> None:
    reign = heard_reign()
    ask(reign, "keyed", key="k")
    ask(reign, "plain")
    assert commit(reign) == [Appended("plain", 0)]
    reign.key_found("k", None, 0.0)
    assert commit(reign) == [Appended("keyed", 1)]


def test_what_the_log_has_under_the_key_is_replayed_and_waits_for_the_copies_it_asks_for() -> None:
    reign = heard_reign("node1", end=END)
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
    reign = heard_reign(end=END)
    ask(reign, "old", key="k")
    reign.key_found("k", in_log("k", "old", epoch=7), 0.0)
    assert outcomes(reign.decisions()) == [Replayed("old", 0, 7)]


def test_a_key_that_the_log_has_for_other_messages_is_reused() -> None:
    reign = heard_reign(end=END)
    for waiter, texts in (("same", ["a", "b"]), ("joined", ["ab"]), ("fewer", ["a"]), ("again", ["a", "b"])):
        ask(reign, waiter, *texts, key="k")
    reign.key_found("k", in_log("k", "a", "b"), 0.0)
    assert outcomes(reign.decisions()) == [
        Replayed("same", 0, 1),
        KeyReused("joined"),
        KeyReused("fewer"),
        Replayed("again", 0, 1),
    ]
    assert reign.waiting == 0


def test_the_log_is_asked_anew_once_a_key_is_decided() -> None:
    reign = heard_reign(end=END)
    for _ in range(2):
        ask(reign, "old", key="k")
        assert only(reign.decisions(), FindKey) == [FindKey("k")]
        reign.key_found("k", in_log("k", "old"), 0.0)
        assert outcomes(reign.decisions()) == [Replayed("old", 0, 1)]


def test_the_key_comes_before_where_the_log_should_end() -> None:
    reign = heard_reign(end=END)
    ask(reign, "old", key="k", if_end=0)
    reign.key_found("k", in_log("k", "old"), 0.0)
    assert outcomes(reign.decisions()) == [Replayed("old", 0, 1)]


def test_of_a_key_that_can_not_be_read_all_who_come_with_it_are_told_so_and_nobody_else() -> None:
    reign = heard_reign()
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
    reign = heard_reign()
    with pytest.raises(AssertionError):
        ask(reign, "a", key=key)
    assert reign.decisions() == []


def test_a_read_only_master_replays_what_it_has_and_appends_nothing_else() -> None:
    reign = heard_reign("node1", end=END)
    why = conflict(reign)
    ask(reign, "old", key="k1")
    ask(reign, "new", key="k2")
    with pytest.raises(ReadOnlyError):
        ask(reign, "plain")
    reign.key_found("k1", in_log("k1", "old"), 0.0)
    reign.key_found("k2", None, 0.0)
    assert outcomes(reign.decisions()) == [Replayed("old", 0, 1), NotAppended("new", why)]
    assert reign.waiting == 0


def test_without_the_required_quorum_a_key_that_is_not_in_the_log_is_refused() -> None:
    reign = Reign[str](REIGN, ["node1"], END, require_quorum=True)
    ask(reign, "new", key="k")
    reign.key_found("k", None, 100.0)
    (refused,) = only(reign.decisions(), NotAppended)
    assert refused.read_only is not None
    assert "quorum" in refused.read_only


# Rules 9 and 10: others with the same key.
