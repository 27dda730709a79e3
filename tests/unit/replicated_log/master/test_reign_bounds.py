"""How much may wait at a reign."""

import pytest

import replicated_log.master.reign
from replicated_log.master.append_queue import MESSAGE_OVERHEAD_BYTES
from replicated_log.master.decisions import Commit, NotAppended
from replicated_log.master.reign import OverloadedError
from replicated_log.wire.batch import LENGTH_BYTES, START
from tests.unit.builders import make_ack, make_batches, only
from tests.unit.driven_reign import append, append_and_commit, commit, heard_reign, texts


def test_what_waits_is_bounded_be_it_for_the_disk_or_for_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicated_log.master.reign, "MAX_WAITING", 3)
    reign = heard_reign("node1")
    (first,) = append_and_commit(reign, "a", w=2)
    append(reign, "b", w=2)
    assert only(reign.decisions(), Commit)
    append(reign, "c", w=2)
    with pytest.raises(OverloadedError):
        append(reign, "d")
    assert reign.waiting == 3
    reign.receive(make_ack(first.end), 0.0)
    append(reign, "d")
    reign.forget("b")
    reign.committed()
    append(reign, "e")
    assert texts(commit(reign)) == [["c", "d", "e"]]


SMALL_BYTES = 1 + LENGTH_BYTES + MESSAGE_OVERHEAD_BYTES
"""What a message of one byte takes of memory."""


def test_the_bytes_that_wait_for_the_disk_are_bounded_and_free_when_stored_or_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replicated_log.master.reign, "MAX_UNCOMMITTED_BYTES", 2 * SMALL_BYTES)
    reign = heard_reign("node1")
    for end_of_wait in (reign.committed, reign.commit_refused, reign.committed):
        append(reign, "a", "b", w=2)
        assert only(reign.decisions(), Commit)
        with pytest.raises(OverloadedError, match=f"{2 * SMALL_BYTES} bytes"):
            append(reign, "c")
        end_of_wait()
        reign.decisions()
        reign.forget("a")
        reign.forget("b")


def test_the_bytes_that_a_conflict_refuses_are_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicated_log.master.reign, "MAX_UNCOMMITTED_BYTES", 2 * SMALL_BYTES)
    reign = heard_reign("node1")
    for _ in range(2):
        append(reign, "a", "b")
        reign.receive(make_ack(make_batches("x")[-1].end, reign=None), 0.0)
        assert len(only(reign.decisions(), NotAppended)) == 2
        reign.receive(make_ack(START), 0.0)
