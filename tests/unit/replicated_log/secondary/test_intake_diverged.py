"""When a secondary finds that its log is not the master's."""

import pytest

from replicated_log.wire.batch import Batch, Position
from replicated_log.wire.delivery import DIVERGED, FOLLOWING
from tests.unit.builders import make_batch, make_batches, make_beat, make_live, make_reign
from tests.unit.driven_intake import following_intake

LOG = make_batches("a", "b", "c")
NEWER = make_reign(2)
NEWER_LOG = [*LOG, *make_batches("d", "e", previous=LOG[-1].end, epoch=2)]


@pytest.mark.parametrize(
    "other",
    [
        make_batch("d", previous=Position(3, b"?" * 16)),
        make_batch("overlaps", "the end", previous=LOG[1].end),
    ],
    ids=["another past", "overlap"],
)
def test_a_sound_batch_of_the_master_that_does_not_follow_makes_the_node_diverged(other: Batch) -> None:
    driven = following_intake(*LOG)
    (next_one,) = make_batches("d", previous=LOG[-1].end)
    driven.receive(make_live(other))
    assert driven.intake.state == DIVERGED
    assert len(driven.notices) == 1
    assert "diverged" in driven.notices[0]

    driven.receive(make_live(next_one), make_beat(9))
    driven.wait_until(60.0)
    assert driven.stored == LOG
    assert driven.fetches == []
    assert (driven.acks[-1].state, driven.acks[-1].acked) == (DIVERGED, LOG[-1].end)


def test_a_diverged_node_is_judged_anew_by_the_next_master() -> None:
    driven = following_intake(*LOG)
    driven.receive(make_live(make_batch("x", previous=Position(3, b"?" * 16))))
    assert driven.intake.state == DIVERGED
    # The operator has restored the master from this very node.
    driven.receive(make_beat(5, reign=NEWER))
    assert driven.intake.state == FOLLOWING
    driven.answer(*NEWER_LOG[3:])
    assert driven.stored == NEWER_LOG

    driven.receive(make_live(make_batch("x", previous=Position(5, b"?" * 16), epoch=2), reign=NEWER))
    assert driven.intake.state == DIVERGED


def test_what_was_accepted_before_the_divergence_is_stored_all_the_same() -> None:
    driven = following_intake(slow_disk=True)
    driven.receive(make_live(LOG[0]), make_live(LOG[1]), make_live(make_batch("x", previous=LOG[0].end), LOG[0]))
    driven.receive(make_live(make_batch("x", previous=Position(2, b"?" * 16))))
    assert driven.intake.state == DIVERGED
    driven.finish_commit()
    driven.finish_commit()
    assert driven.stored == LOG[:2]


def test_a_node_that_diverged_from_what_then_found_no_room_goes_on_from_its_disk() -> None:
    driven = following_intake(slow_disk=True)
    driven.receive(make_live(LOG[0]), make_live(make_batch("x", previous=Position(1, b"?" * 16))))
    assert driven.intake.state == DIVERGED
    driven.finish_commit(full=True)
    driven.slow_disk = False
    driven.wait_until(60.0)
    driven.answer(*LOG)
    assert (driven.intake.state, driven.stored) == (FOLLOWING, LOG)
