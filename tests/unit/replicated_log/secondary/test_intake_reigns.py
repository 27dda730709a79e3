"""Whom a secondary follows, and what it makes of everybody else."""

import pytest

from replicated_log.wire.delivery import FOLLOWING, ReignId
from tests.unit.builders import (
    LOG_ID,
    OTHER_LOG_ID,
    REIGN,
    make_batch,
    make_batches,
    make_beat,
    make_fetched,
    make_live,
    make_reign,
)
from tests.unit.driven_intake import DrivenIntake, following_intake

LOG = make_batches("a", "b", "c")
NEWER = make_reign(2)
RIVAL = make_reign(1, "rival")
OLDER = make_reign(0)
FOREIGN = make_reign(9, log_id=OTHER_LOG_ID)
NEWER_LOG = [*LOG, *make_batches("d", "e", previous=LOG[-1].end, epoch=2)]


@pytest.mark.parametrize("stranger", [RIVAL, OLDER, FOREIGN], ids=["rival", "older", "foreign"])
def test_deliveries_of_others_than_the_followed_master_are_dropped_and_their_beats_answered(stranger: ReignId) -> None:
    driven = following_intake(LOG[0])
    driven.receive(make_live(LOG[1], reign=stranger), make_beat(3, reign=stranger, reply_to="their acks"))

    assert driven.stored == LOG[:1]
    assert driven.fetches == []
    assert [(send.to, send.delivery) for send in driven.sent] == [("their acks", driven.acks[0])]
    assert (driven.acks[0].log_id, driven.acks[0].reign, driven.acks[0].acked) == (LOG_ID, REIGN, LOG[0].end)
    driven.receive(make_live(LOG[1]))
    assert driven.stored == LOG[:2]


@pytest.mark.parametrize("stranger", [RIVAL, OLDER, FOREIGN], ids=["rival", "older", "foreign"])
def test_an_answer_of_another_than_the_followed_master_is_dropped(stranger: ReignId) -> None:
    driven = following_intake()
    driven.receive(make_beat(3))
    driven.receive(make_fetched(driven.fetches[0].request_id, *LOG, reign=stranger))
    assert driven.stored == []
    driven.answer(*LOG)
    assert driven.stored == LOG


@pytest.mark.parametrize(
    ("stranger", "notice"),
    [(RIVAL, "two masters on one log"), (FOREIGN, "a master of another log")],
    ids=["rival", "foreign"],
)
def test_an_operators_error_is_noticed_once(stranger: ReignId, notice: str) -> None:
    driven = following_intake(LOG[0])
    for _ in range(3):
        driven.receive(make_beat(reign=stranger), make_live(LOG[1], reign=stranger))
    assert len(driven.notices) == 1
    assert notice in driven.notices[0]


def test_a_newer_master_is_followed_from_its_first_beat() -> None:
    driven = following_intake(*LOG)
    driven.receive(make_beat(5, reign=NEWER, reply_to="new acks"))
    assert driven.intake.reign == NEWER
    assert driven.notices == ["following the master of epoch 2, reign reign-2"]
    assert [send.to for send in driven.sent] == ["new acks", "new acks"]
    assert driven.acks[0].reign == NEWER
    driven.answer(*NEWER_LOG[3:])
    assert driven.stored == NEWER_LOG
    assert driven.acks[-1].acked == NEWER_LOG[-1].end

    driven.receive(make_live(make_batch("x", previous=NEWER_LOG[-1].end)))
    assert driven.stored == NEWER_LOG


def test_what_a_newer_master_sends_before_its_first_beat_is_kept_until_then() -> None:
    driven = following_intake(*LOG)
    driven.receive(make_live(NEWER_LOG[4], reign=NEWER))
    assert driven.stored == LOG
    assert driven.intake.reign == REIGN
    driven.receive(make_beat(5, reign=NEWER))
    driven.answer(NEWER_LOG[3])
    assert driven.stored == NEWER_LOG


def test_the_answer_to_a_fetch_from_the_former_master_is_dropped() -> None:
    driven = following_intake()
    driven.receive(make_beat(3))
    asked_before = driven.fetches[0].request_id
    driven.receive(make_beat(5, reign=NEWER))
    driven.receive(make_fetched(asked_before, *LOG))
    assert driven.stored == []
    assert driven.intake.counts["unasked"] == 1
    driven.answer(*NEWER_LOG)
    assert driven.stored == NEWER_LOG


def test_early_batches_of_the_former_master_are_not_the_new_ones() -> None:
    driven = following_intake()
    driven.receive(make_live(LOG[1]))
    driven.receive(make_beat(3, reign=NEWER))
    (first, second) = make_batches("other a", "other b", epoch=2)
    driven.answer(first, end_offset=2)
    driven.answer(second)
    assert driven.stored == [first, second]
    assert driven.intake.state == FOLLOWING


def test_what_a_master_sent_that_has_not_beaten_yet_is_not_taken_for_the_followed_ones() -> None:
    driven = following_intake()
    theirs = make_batches("other a", "other b", epoch=2)
    driven.receive(make_live(theirs[1], reign=NEWER))
    driven.receive(make_live(LOG[0]))
    assert driven.intake.state == FOLLOWING
    assert driven.stored == LOG[:1]


def test_a_foreign_masters_batches_while_joining_do_not_make_the_node_diverged() -> None:
    foreign = make_batches("x", "y", log_id=OTHER_LOG_ID)
    driven = DrivenIntake(log_id=None)
    driven.receive(make_beat(3))
    driven.receive(make_live(foreign[1], reign=FOREIGN))
    driven.answer(LOG[0], end_offset=3)
    assert driven.intake.state == FOLLOWING
    driven.answer(*LOG[1:])
    assert driven.stored == LOG


def test_while_joining_an_older_reign_of_the_same_log_is_not_followed() -> None:
    driven = DrivenIntake(log_id=None)
    driven.receive(make_beat(1, reign=NEWER), make_beat(1, reign=REIGN))
    assert driven.intake.reign == NEWER


def test_a_node_without_a_log_may_change_its_mind_about_which_one_to_join() -> None:
    driven = DrivenIntake(log_id=None)
    driven.receive(make_beat(3, reign=FOREIGN), make_beat(3, reign=REIGN))
    assert (driven.intake.reign, driven.intake.epoch) == (REIGN, 1)
    driven.answer(*LOG)
    assert driven.stored == LOG
    assert driven.intake.log_id == LOG_ID


def test_a_master_older_than_what_is_stored_is_not_followed_after_a_restart_and_learns_why() -> None:
    driven = DrivenIntake(*NEWER_LOG)
    driven.receive(make_beat(6), make_live(make_batch("x", previous=NEWER_LOG[-1].end)))
    assert driven.intake.reign is None
    assert (driven.stored, driven.fetches) == (NEWER_LOG, [])
    assert [(ack.reign, ack.epoch, ack.acked) for ack in driven.acks] == [(None, 2, NEWER_LOG[-1].end)]
    driven.receive(make_beat(5, reign=NEWER))
    assert driven.intake.reign == NEWER


def test_the_committed_end_is_that_of_the_followed_reign() -> None:
    driven = following_intake(*LOG)
    driven.receive(make_beat(3, 3))
    assert driven.intake.committed_end == 3
    driven.receive(make_beat(3, 0, reign=NEWER))
    assert driven.intake.committed_end == 0


def test_early_batches_of_the_former_master_do_not_take_the_place_of_the_new_ones() -> None:
    theirs = make_batches("other a", "other b", epoch=2)
    driven = following_intake()
    driven.receive(make_live(LOG[1]))
    driven.receive(make_beat(2, reign=NEWER), make_live(theirs[1], reign=NEWER))
    driven.answer(theirs[0], end_offset=2)
    assert driven.stored == theirs


def test_after_a_restart_nobody_is_followed_until_a_beat() -> None:
    driven = DrivenIntake(LOG[0])
    driven.receive(make_live(LOG[1]))
    assert (driven.stored, driven.sent) == (LOG[:1], [])
    driven.receive(make_beat(2))
    driven.answer(LOG[1])
    assert driven.stored == LOG[:2]


def test_a_reconnected_master_gets_acks_where_its_last_delivery_says() -> None:
    driven = following_intake()
    driven.receive(make_live(LOG[0]), make_beat(1, reply_to="newer acks"))
    driven.receive(make_live(LOG[1], reply_to="newer acks"), make_live(LOG[2], reply_to="newest acks"))
    assert [send.to for send in driven.sent] == ["acks", "newer acks", "newer acks", "newest acks"]


def test_a_log_without_a_record_makes_way_for_another_one() -> None:
    driven = following_intake()
    driven.receive(make_beat(1, reign=FOREIGN))
    assert (driven.intake.reign, driven.intake.log_id, driven.fetches[-1].log_id) == (FOREIGN, None, None)
    theirs = make_batch("x", log_id=OTHER_LOG_ID, epoch=9)
    driven.answer(theirs)
    assert [(commit.adopt, commit.epoch) for commit in driven.commits] == [(OTHER_LOG_ID, 9)]
    assert driven.stored == [theirs]
    driven.receive(make_beat(1, reign=REIGN))
    assert driven.intake.reign == FOREIGN


def test_a_log_without_a_record_makes_way_for_another_reign_of_its_epoch_and_for_no_older_one() -> None:
    driven = following_intake()
    driven.receive(make_beat(0, reign=OLDER))
    assert driven.intake.reign == REIGN
    driven.receive(make_beat(1, reign=RIVAL))
    assert driven.intake.reign == RIVAL
    driven.answer(LOG[0])
    driven.receive(make_beat(1, reign=REIGN))
    assert driven.intake.reign == RIVAL
    assert "two masters on one log" in driven.notices[-1]


@pytest.mark.parametrize("log_id", [None, OTHER_LOG_ID], ids=["no log", "another log"])
def test_after_a_restart_without_a_record_the_epochs_of_another_log_mean_nothing(log_id: str | None) -> None:
    driven = DrivenIntake(log_id=log_id, epoch=9)
    driven.receive(make_beat(3))
    driven.answer(*LOG)
    assert [(commit.adopt, commit.epoch) for commit in driven.commits] == [(LOG_ID, 1)]
    assert driven.stored == LOG


def test_the_epoch_that_is_followed_is_persisted_once_and_with_the_next_batches() -> None:
    driven = following_intake(*LOG, slow_disk=True)
    driven.receive(make_beat(3, reign=NEWER), make_beat(5, reign=NEWER))
    assert driven.due is not None
    assert (driven.due.adopt, driven.due.epoch, driven.due.batches) == (None, 2, ())
    driven.answer(*NEWER_LOG[3:])
    for _ in range(2):
        driven.finish_commit()
    assert [(commit.epoch, list(commit.batches)) for commit in driven.commits] == [(2, []), (2, NEWER_LOG[3:])]


def test_the_epoch_of_a_log_that_is_not_adopted_yet_is_not_persisted() -> None:
    driven = DrivenIntake(log_id=None)
    driven.receive(make_beat(1, reign=FOREIGN), make_beat(3))
    assert driven.commits == []
    driven.answer(*LOG)
    assert [(commit.adopt, commit.epoch) for commit in driven.commits] == [(LOG_ID, 1)]


def test_after_a_restart_no_reign_older_than_the_followed_one_is_followed() -> None:
    driven = DrivenIntake(*LOG, epoch=2)
    driven.receive(make_beat(3))
    assert driven.intake.reign is None


def test_a_log_that_waits_to_be_adopted_is_forgotten_when_another_is_followed_meanwhile() -> None:
    driven = DrivenIntake(slow_disk=True)
    driven.receive(make_beat(0), make_beat(0, reign=FOREIGN))
    driven.answer()
    driven.receive(make_beat(3))
    driven.finish_commit()
    driven.answer(*LOG)
    driven.finish_commit()
    assert [(commit.adopt, commit.epoch) for commit in driven.commits] == [(None, 1), (LOG_ID, 1)]
    assert driven.stored == LOG
