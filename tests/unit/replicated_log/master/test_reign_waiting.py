"""Rule 5 of a reign: when a waiter is reached, and when it is forgotten."""

from replicated_log.master.decisions import Appended, Commit, Reached, ReadChain
from replicated_log.wire.batch import START
from tests.unit.builders import make_ack, make_batches, only
from tests.unit.driven_reign import append, append_and_commit, commit, heard_reign, new_reign, published, texts


def test_w_nodes_must_hold_a_record_before_its_waiter_is_reached() -> None:
    reign = heard_reign("node1", "node2", "node3")
    for w in (1, 2, 3, 4):
        append(reign, f"w={w}", w=w)
    (batch,) = commit(reign)
    assert only(reign.decisions(), Reached) == [Reached(["w=1"])]
    for node, reached in (("node2", "w=2"), ("node1", "w=3"), ("node3", "w=4")):
        reign.receive(make_ack(batch.end, node=node), 0.0)
        reign.receive(make_ack(batch.end, node=node), 0.0)
        assert only(reign.decisions(), Reached) == [Reached([reached])]


def test_an_append_of_several_messages_is_reached_with_its_last_one() -> None:
    reign = heard_reign("node1")
    reign.append("all", [b"a", b"b"], w=2, time_ms=0, now=0.0)
    (batch,) = commit(reign)
    for position, reached in ((START, []), (batch.end, [Reached(["all"])])):
        reign.receive(make_ack(position), 0.0)
        assert only(reign.decisions(), Reached) == reached


def test_one_ack_reaches_all_records_below_it() -> None:
    reign = heard_reign("node1")
    batches = [append_and_commit(reign, text, w=2)[0] for text in "abc"]
    reign.receive(make_ack(batches[1].end), 0.0)
    assert only(reign.decisions(), Reached) == [Reached(["a"]), Reached(["b"])]


def test_acks_of_nodes_that_are_not_configured_reach_nothing() -> None:
    reign = heard_reign("node1")
    (batch,) = append_and_commit(reign, "a", w=2)
    reign.receive(make_ack(batch.end, node="observer"), 0.0)
    assert only(reign.decisions(), Reached) == []


def test_an_old_chain_is_read_before_its_ack_reaches_anything() -> None:
    log = make_batches("a", "b")
    reign = new_reign("node1", end=log[1].end)
    reign.wait("waiter", 0, w=2)
    reign.receive(make_ack(log[0].end), 0.0)
    assert reign.decisions() == [ReadChain(1)]
    reign.chain_read(1, log[0].chain, 0.0)
    assert reign.decisions() == [Reached(["waiter"])]


def test_a_chain_that_was_not_read_when_the_connection_was_lost_is_asked_for_again() -> None:
    log = make_batches("a", "b")
    reign = new_reign("node1", end=log[1].end)
    for _ in range(2):
        reign.receive(make_ack(log[0].end), 0.0)
        assert reign.decisions() == [ReadChain(1)]
        reign.receive(make_ack(log[0].end), 0.0)
        assert reign.decisions() == []
        reign.connection_lost()


def test_a_chain_that_a_late_ack_asked_for_is_asked_for_again_on_the_next_connection() -> None:
    log = make_batches("a", "b")
    reign = new_reign("node1", end=log[1].end)
    reign.connection_lost()
    reign.receive(make_ack(log[0].end), 0.0)
    assert reign.decisions() == [ReadChain(1)]
    reign.connected("acks")
    reign.receive(make_ack(log[0].end), 0.0)
    assert only(reign.decisions(), ReadChain) == [ReadChain(1)]


def test_waiting_for_what_is_held_already_ends_at_once() -> None:
    (batch,) = make_batches("a")
    reign = new_reign("node1", end=batch.end)
    reign.wait("one", 0, w=1)
    reign.wait("two", 0, w=2)
    assert reign.decisions() == [Reached(["one"])]
    reign.receive(make_ack(batch.end), 0.0)
    assert reign.decisions() == [Reached(["two"])]


def test_a_forgotten_waiter_is_never_reached_and_what_it_appended_is_published() -> None:
    reign = heard_reign("node1")
    (batch,) = append_and_commit(reign, "a", w=2)
    reign.forget("a")
    assert reign.waiting == 0
    reign.receive(make_ack(batch.end), 0.0)
    decisions = reign.decisions()
    assert published(decisions) == [batch]
    assert only(decisions, Reached) == []


def test_a_waiter_forgotten_before_its_commit_is_never_heard_of_and_what_it_appended_is_published() -> None:
    reign = heard_reign("node1")
    append(reign, "a", "b", w=2)
    reign.forget("a")
    (due,) = only(reign.decisions(), Commit)
    reign.forget("b")
    reign.committed()
    decisions = reign.decisions()
    assert texts(published(decisions)) == [["a", "b"]]
    assert only(decisions, Appended) == []
    assert reign.waiting == 0
    reign.receive(make_ack(due.batches[0].end), 0.0)
    assert reign.decisions() == []
