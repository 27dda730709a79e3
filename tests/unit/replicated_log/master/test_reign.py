import pytest

from replicated_log.master.decisions import AnswerFetch, Appended, Commit, NotAppended, Publish, Reached, ReadChain
from replicated_log.master.reign import (
    MAX_COMMIT_BATCHES,
    ReadOnlyError,
    Reign,
)
from replicated_log.timings import DEFAULT
from replicated_log.wire.batch import (
    HEADER_BYTES,
    LENGTH_BYTES,
    MAX_BATCH_BYTES,
    MAX_BATCH_RECORDS,
    START,
    Position,
)
from replicated_log.wire.delivery import JOINING, LiveBatches
from tests.unit.builders import LOG_ID, OTHER_LOG_ID, REIGN, make_ack, make_batches, make_fetch, only
from tests.unit.driven_reign import append, append_and_commit, commit, heard_reign, new_reign, published, texts

MIB = 1 << 20


def test_an_append_is_committed_and_only_then_answered_and_published() -> None:
    reign = new_reign()
    append(reign, "a")
    (due,) = reign.decisions()
    assert isinstance(due, Commit)
    assert texts(due.batches) == [["a"]]
    assert due.batches[0].follows(START)
    assert (due.batches[0].log_id, due.batches[0].epoch, due.batches[0].time_ms) == (LOG_ID, 1, 1_000)
    assert reign.decisions() == []

    reign.committed()
    assert reign.decisions() == [Publish(LiveBatches(REIGN, due.batches, "acks")), Appended("a", 0), Reached(["a"])]
    assert reign.decisions() == []


def test_the_log_goes_on_where_it_ended() -> None:
    (last,) = make_batches(["x", "y"])
    reign = new_reign(end=last.end)
    (batch,) = append_and_commit(reign, "a")
    assert batch.follows(last.end)
    assert only(reign.decisions(), Appended) == [Appended("a", 2)]


def test_appends_that_come_while_a_commit_runs_form_one_batch_in_order() -> None:
    reign = new_reign()
    append(reign, "a")
    (first,) = only(reign.decisions(), Commit)
    append(reign, "b", "c", "d")
    assert reign.decisions() == []
    assert reign.waiting == 4

    reign.committed()
    (second,) = only(decisions := reign.decisions(), Commit)
    assert texts(second.batches) == [["b", "c", "d"]]
    assert second.batches[0].follows(first.batches[0].end)
    assert only(decisions, Appended) == [Appended("a", 0)]

    reign.committed()
    assert only(reign.decisions(), Appended) == [Appended("b", 1), Appended("c", 2), Appended("d", 3)]
    assert reign.waiting == 0


def test_the_messages_of_one_append_stay_together() -> None:
    reign = new_reign()
    append(reign, "a")
    reign.append("several", [b"b", b"c"], w=1, time_ms=0, now=0.0)
    append(reign, "d")
    assert texts(commit(reign)) == [["a", "b", "c", "d"]]
    assert only(reign.decisions(), Appended) == [Appended("a", 0), Appended("several", 1), Appended("d", 3)]


def test_appends_too_large_for_one_batch_take_several_and_too_many_for_one_commit_take_two() -> None:
    reign = new_reign()
    most = (MAX_BATCH_BYTES - HEADER_BYTES) // (MIB + LENGTH_BYTES)
    appended = most * MAX_COMMIT_BATCHES + 1
    for number in range(appended):
        reign.append(str(number), [b"x" * MIB], w=1, time_ms=0, now=0.0)

    assert [batch.count for batch in commit(reign)] == [most] * MAX_COMMIT_BATCHES
    assert [batch.count for batch in commit(reign)] == [1]
    assert reign.progress.end.offset == appended


def test_a_batch_may_be_as_large_as_allowed_and_no_larger() -> None:
    reign = new_reign()
    largest = MAX_BATCH_BYTES - HEADER_BYTES - 2 * LENGTH_BYTES
    for waiter, size in (("a", 1), ("b", largest - 1), ("c", 2), ("d", largest - 1)):
        reign.append(waiter, [b"x" * size], w=1, time_ms=0, now=0.0)
    batches = commit(reign)
    assert [batch.count for batch in batches] == [2, 1, 1]
    assert len(batches[0].data) == MAX_BATCH_BYTES


def test_a_batch_has_no_more_records_than_allowed() -> None:
    reign = new_reign()
    reign.append("many", [b"x"] * (MAX_BATCH_RECORDS - 1), w=1, time_ms=0, now=0.0)
    append(reign, "a", "b")
    assert [batch.count for batch in commit(reign)] == [MAX_BATCH_RECORDS, 1]


def test_a_refused_commit_appends_nothing_and_the_next_takes_its_offsets() -> None:
    reign = new_reign()
    append(reign, "a", "b")
    assert only(reign.decisions(), Commit)
    append(reign, "c")
    reign.commit_refused()
    (retry,) = only(decisions := reign.decisions(), Commit)
    assert decisions[1:3] == [NotAppended("a", None), NotAppended("b", None)]
    assert texts(retry.batches) == [["c"]]
    reign.committed()
    decisions = reign.decisions()
    assert only(decisions, Appended) == [Appended("c", 0)]
    assert texts(published(decisions)) == [["c"]]


def test_a_master_whose_secondary_holds_more_refuses_to_append_until_that_is_settled() -> None:
    reign = new_reign("node1")
    (newer,) = make_batches("a")
    reign.receive(make_ack(newer.end, reign=None), 0.0)
    with pytest.raises(ReadOnlyError, match="node1 holds 1 records"):
        append(reign, "b")
    assert reign.decisions() == []
    assert reign.waiting == 0

    reign.receive(make_ack(START, disk_id="new"), 0.0)
    assert texts(append_and_commit(reign, "c")) == [["c"]]


def test_what_waits_when_a_conflict_shows_is_not_appended_and_what_is_being_committed_is() -> None:
    reign = heard_reign("node1")
    append(reign, "a")
    assert only(reign.decisions(), Commit)
    append(reign, "b", "c")
    reign.receive(make_ack(make_batches(*"xyz")[-1].end, reign=None), 0.0)
    conflict = reign.progress.conflict
    assert conflict is not None
    assert reign.decisions() == [NotAppended("b", conflict), NotAppended("c", conflict)]

    reign.committed()
    decisions = reign.decisions()
    assert only(decisions, Appended) == [Appended("a", 0)]
    assert only(decisions, Commit) == []
    assert reign.waiting == 0


@pytest.mark.parametrize("end", [START, make_batches("a")[0].end], ids=["new", "old"])
def test_a_reign_commits_nothing_until_it_has_heard_every_configured_secondary(end: Position) -> None:
    reign = new_reign("node1", "node2", end=end)
    append(reign, "b")
    reign.receive(make_ack(START, node="node1"), 0.0)
    reign.receive(make_ack(START, node="observer"), 0.0)
    reign.receive(make_fetch(0, node="node2"), 0.0)
    assert only(reign.decisions(), Commit) == []
    reign.receive(make_ack(START, node="node2", log_id=None, reign=None, state=JOINING), 0.0)
    assert texts(commit(reign)) == [["b"]]


def test_a_secondary_is_not_heard_while_the_chain_of_its_ack_is_being_read() -> None:
    log = make_batches("a", "b", "c")
    reign = new_reign("node1", end=log[2].end)
    append(reign, "d")
    reign.receive(make_ack(log[1].end), 0.0)
    assert reign.decisions() == [ReadChain(2)]
    reign.chain_read(2, START.chain, 0.0)
    assert reign.decisions() == [NotAppended("d", reign.progress.conflict)]


def test_hearing_does_not_end_while_the_chain_of_an_ack_is_being_read() -> None:
    log = make_batches("a", "b", "c")
    reign = new_reign("node1", "node2", end=log[2].end)
    append(reign, "d")
    reign.tick(0.0)
    reign.receive(make_ack(log[1].end), DEFAULT.hearing_s - 0.5)
    assert only(reign.decisions(), ReadChain) == [ReadChain(2)]
    reign.tick(DEFAULT.hearing_s)
    reign.tick(DEFAULT.hearing_s + 5)
    assert only(reign.decisions(), Commit) == []
    reign.chain_read(2, log[1].chain, DEFAULT.hearing_s + 5)
    assert only(reign.decisions(), Commit) == []
    reign.tick(DEFAULT.hearing_s + 6)
    assert texts(commit(reign)) == [["d"]]


def test_a_reign_does_not_wait_for_ever_to_hear_its_secondaries() -> None:
    (old,) = make_batches("a")
    reign = new_reign("node1", end=old.end)
    append(reign, "b")
    for now, commits in ((100.0, 0), (100.0 + DEFAULT.hearing_s - 0.125, 0), (100.0 + DEFAULT.hearing_s, 1)):
        reign.tick(now)
        assert len(only(reign.decisions(), Commit)) == commits


def test_a_reign_that_is_not_connected_waits_longer_and_anew_from_its_first_connection() -> None:
    for connected_at, commits_at in (
        (None, DEFAULT.hearing_unconnected_s),
        (3.0, 3.0 + DEFAULT.hearing_s),
        (3.9, 3.9 + DEFAULT.hearing_s),
    ):
        reign = Reign[str](REIGN, ["node1"], START)
        append(reign, "a")
        reign.tick(0.0)
        if connected_at is not None:
            for at in (connected_at, connected_at + 0.5):  # Only the first connection counts.
                reign.connection_lost()
                reign.connected("acks")
                reign.tick(at)
        reign.tick(commits_at - 0.01)
        assert only(reign.decisions(), Commit) == []
        reign.tick(commits_at)
        assert texts(commit(reign)) == [["a"]]


def test_what_waits_to_hear_the_secondaries_is_refused_when_one_holds_more() -> None:
    log = make_batches("a", "b")
    reign = new_reign("node1", "node2", end=log[0].end)
    append(reign, "c")
    assert reign.decisions() == []
    reign.receive(make_ack(log[1].end), 0.0)
    assert reign.decisions() == [NotAppended("c", reign.progress.conflict)]


def test_where_a_quorum_is_required_appends_are_refused_while_fewer_nodes_are_alive() -> None:
    reign = new_reign("node1", "node2", require_quorum=True)
    with pytest.raises(ReadOnlyError, match="1 of 3 nodes are alive"):
        append(reign, "a")
    assert reign.decisions() == []

    reign.receive(make_ack(START), 100.0)
    reign.tick(100.0)
    reign.tick(100.0 + DEFAULT.hearing_s)
    append(reign, "b", now=100.0 + DEFAULT.unhealthy_s - 0.1)
    assert texts(commit(reign)) == [["b"]]
    with pytest.raises(ReadOnlyError, match="1 of 3 nodes are alive"):
        append(reign, "c", now=100.0 + DEFAULT.unhealthy_s)


def test_a_fetch_is_answered_with_stored_batches_and_how_far_has_been_published() -> None:
    reign = new_reign()
    batches = append_and_commit(reign, "a")
    reign.decisions()
    fetch = make_fetch(0, node="anyone", log_id=None)
    reign.receive(fetch, 0.0)
    assert reign.decisions() == [AnswerFetch(fetch)]
    answer = reign.fetched(fetch, batches)
    assert (answer.reign, answer.request_id, answer.end_offset) == (REIGN, fetch.request_id, 1)
    assert list(answer.batches) == batches


def test_a_fetch_is_answered_without_what_is_on_disk_before_the_reign_knows_of_it() -> None:
    reign = new_reign()
    batches = append_and_commit(reign, "a")
    append(reign, "b")
    (due,) = [decision for decision in reign.decisions() if isinstance(decision, Commit)]
    fetch = make_fetch(0)
    assert list(reign.fetched(fetch, [*batches, *due.batches]).batches) == batches
    reign.committed()
    assert list(reign.fetched(fetch, [*batches, *due.batches]).batches) == [*batches, *due.batches]


def test_a_fetch_of_another_log_is_not_answered() -> None:
    reign = new_reign()
    reign.receive(make_fetch(0, log_id=OTHER_LOG_ID), 0.0)
    assert reign.decisions() == []
