"""What is taken in: every batch once, in order, without a gap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicated_log.secondary.persist_queue import MAX_COMMIT_BYTES, MAX_PENDING_BYTES
from replicated_log.secondary.reorder_buffer import MAX_EARLY_BYTES
from replicated_log.wire.batch import Batch
from replicated_log.wire.delivery import FOLLOWING
from tests.unit.builders import OTHER_LOG_ID, make_batch, make_batches, make_beat, make_live
from tests.unit.driven_intake import DrivenIntake, following_intake

LOG = make_batches("a", ["b", "c"], "d", ["e", "f"], "g", "h")
END = LOG[-1].end


def large_batches(count: int) -> list[Batch]:
    return make_batches(*["x" * (1 << 20)] * count)


def test_batches_in_order_are_stored_and_then_acked() -> None:
    driven = following_intake()
    driven.receive(make_live(LOG[0]), make_live(LOG[1], LOG[2]))
    assert driven.stored == LOG[:3]
    assert driven.acked_ends == [1, 4]
    assert driven.acks[-1].acked == LOG[2].end
    assert driven.fetches == []


def test_nothing_is_acked_before_it_is_on_disk() -> None:
    driven = following_intake(slow_disk=True)
    driven.receive(make_live(LOG[0]), make_beat(1))
    assert driven.due is not None
    assert driven.acked_ends == [0]
    driven.finish_commit()
    assert driven.acked_ends == [0, 1]


def test_one_commit_runs_at_a_time_and_what_comes_meanwhile_goes_into_the_next() -> None:
    driven = following_intake(slow_disk=True)
    driven.receive(*map(make_live, LOG[:4]))
    driven.finish_commit()
    driven.finish_commit()
    assert driven.due is None
    assert [list(commit.batches) for commit in driven.commits] == [LOG[:1], LOG[1:4]]
    assert driven.acked_ends == [1, 6]


def test_what_is_held_already_is_acked_again_and_not_stored_again() -> None:
    driven = following_intake(*LOG[:2])
    driven.receive(make_live(LOG[1]), make_live(LOG[0]))
    assert driven.commits == []
    assert driven.acked_ends == [3, 3]
    assert driven.intake.counts["duplicates"] == 2


def test_a_delivery_of_many_held_batches_is_acked_once() -> None:
    driven = following_intake(*LOG)
    driven.receive(make_live(*LOG))
    assert driven.acked_ends == [END.offset]


def test_a_delivery_that_repeats_the_known_and_goes_on_is_taken_from_there() -> None:
    driven = following_intake(*LOG[:2])
    driven.receive(make_live(*LOG[:4]))
    assert driven.stored == LOG[:4]


def test_a_batch_after_a_gap_is_not_stored_until_the_gap_is_fetched() -> None:
    driven = following_intake(*LOG[:1])
    driven.receive(make_live(LOG[2]))
    assert driven.stored == LOG[:1]
    assert [fetch.from_offset for fetch in driven.fetches] == [1]
    driven.answer(LOG[1])
    assert driven.stored == LOG[:3]
    assert len(driven.fetches) == 1


def test_an_answer_may_overlap_what_came_early() -> None:
    driven = following_intake()
    driven.receive(make_live(LOG[2]), make_live(LOG[4]))
    driven.answer(*LOG[:4])
    assert driven.stored == LOG[:5]
    driven.receive(make_live(LOG[5]))
    assert driven.stored == LOG


def test_a_late_live_batch_may_fill_the_gap_before_the_answer_does() -> None:
    driven = following_intake()
    driven.receive(make_live(LOG[1]), make_live(LOG[0]))
    assert driven.stored == LOG[:2]
    driven.answer(LOG[0])
    driven.receive(make_live(LOG[2]))
    assert driven.stored == LOG[:3]


DELIVERED = st.lists(st.lists(st.sampled_from(range(len(LOG))), min_size=1, max_size=3), max_size=12)


@given(DELIVERED, st.integers(0, 3), st.booleans())
def test_whatever_is_lost_repeated_or_reordered_all_is_stored_once_and_in_order(
    delivered: list[list[int]], held: int, slow_disk: bool
) -> None:
    driven = following_intake(*LOG[:held], slow_disk=slow_disk)
    for batches in delivered:
        driven.receive(make_live(*(LOG[batch] for batch in batches)))
        assert driven.stored == LOG[: len(driven.stored)]

    heal(driven)
    assert driven.stored == LOG
    assert driven.acks[-1].acked == END
    assert driven.intake.state == FOLLOWING


def heal(driven: DrivenIntake) -> None:
    """Be a good master and a good disk until all is stored: beat, answer each fetch with one batch, finish commits."""
    answered = 0
    for _ in range(10 * len(LOG)):
        if driven.due:
            driven.finish_commit()
        elif len(driven.fetches) > answered:
            answered = len(driven.fetches)
            missing = [batch for batch in LOG if batch.first_offset >= driven.fetches[-1].from_offset]
            driven.answer(*missing[:1], end_offset=END.offset)
        elif driven.end != END:
            driven.receive(make_beat(END.offset))


def test_the_first_of_the_early_batches_are_kept_and_those_beyond_the_bound_dropped() -> None:
    log = large_batches(18)
    kept = MAX_EARLY_BYTES // len(log[1].data)
    driven = following_intake()
    driven.receive(*map(make_live, log[1:]))
    assert driven.intake.counts["dropped"] == 17 - kept
    driven.answer(log[0])
    assert driven.stored == log[: 1 + kept]
    assert driven.fetches[-1].from_offset == 1 + kept


def test_early_batches_that_have_become_late_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replicated_log.secondary.intake.MAX_EARLY_BYTES", len(LOG[1].data))
    driven = following_intake()
    driven.receive(make_live(LOG[1]))
    driven.answer(*LOG[:2])
    driven.receive(make_live(LOG[4]))
    driven.answer(*LOG[2:4], end_offset=LOG[4].end.offset)
    assert driven.stored == LOG[:5]


def test_what_waits_for_the_disk_is_bounded() -> None:
    log = large_batches(30)
    most = 2 + MAX_PENDING_BYTES // len(log[0].data)
    driven = following_intake(slow_disk=True)
    driven.receive(*map(make_live, log))
    assert driven.intake.accepted.offset == most
    assert driven.fetches == []

    driven.finish_commit()
    assert driven.fetches[0].from_offset == most
    while driven.due:
        size = sum(len(batch.data) for batch in driven.due.batches)
        assert size < MAX_COMMIT_BYTES + len(log[0].data)
        driven.finish_commit()
    assert driven.stored == log[:most]


@pytest.mark.parametrize(
    "poison",
    [make_batch("b", previous=LOG[0].end, log_id=OTHER_LOG_ID), make_batch("b", previous=LOG[0].end, epoch=2)],
    ids=["of another log", "of an epoch to come"],
)
def test_a_batch_that_the_master_can_not_have_sent_is_dropped_and_fetched_again(poison: Batch) -> None:
    driven = following_intake(*LOG[:1])
    driven.receive(make_live(poison), make_live(poison))
    assert driven.stored == LOG[:1]
    assert driven.intake.counts["poison"] == 2
    assert driven.notices == [f"dropped batch 1: it is of log {poison.log_id}, epoch {poison.epoch}"]
    assert [fetch.from_offset for fetch in driven.fetches] == [1]
    driven.answer(*LOG[1:])
    assert driven.stored == LOG


def test_an_early_batch_that_the_master_can_not_have_sent_is_dropped_when_its_turn_comes() -> None:
    driven = following_intake(*LOG[:1])
    driven.receive(make_live(make_batch("x", previous=LOG[1].end, log_id=OTHER_LOG_ID)))
    driven.answer(LOG[1], end_offset=END.offset)
    assert driven.stored == LOG[:2]
    assert driven.intake.state == FOLLOWING
    assert driven.intake.counts["poison"] == 1
    driven.answer(*LOG[2:])
    assert driven.stored == LOG


def test_a_delivery_is_needed_while_only_memory_holds_what_it_brought() -> None:
    driven = following_intake(slow_disk=True)
    driven.receive(make_live(LOG[0]), make_live(LOG[1]), make_live(LOG[3]))
    assert [offset for offset in range(END.offset) if driven.intake.needs(offset)] == [1, 2, 3]
    driven.finish_commit()
    assert [offset for offset in range(END.offset) if driven.intake.needs(offset)] == [2, 3]
    driven.finish_commit()
    assert not any(map(driven.intake.needs, range(END.offset)))


def test_what_waits_for_a_simulated_delay_is_not_needed_any_more() -> None:
    driven = following_intake(persist_delay_s=3.0)
    driven.receive(make_live(LOG[0]))
    assert driven.stored == []
    assert not driven.intake.needs(1)
