"""How a secondary joins a log, gets what it lacks, and lives with a full disk."""

from replicated_log.timings import DEFAULT
from replicated_log.wire.batch import START
from replicated_log.wire.delivery import FOLLOWING, JOINING, Fetch
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

LOG = make_batches("a", ["b", "c"], "d")
END = LOG[-1].end


def test_a_log_is_adopted_from_the_answer_to_ones_own_fetch_with_its_first_records() -> None:
    driven = DrivenIntake(log_id=None)
    driven.receive(make_beat(END.offset))
    assert driven.intake.state == JOINING
    assert (driven.acks[0].log_id, driven.acks[0].reign, driven.acks[0].state) == (None, REIGN, JOINING)
    assert [send.to for send in driven.sent] == ["acks", "acks"]
    assert driven.fetches == [Fetch("node1", None, 0, "request-1", "answers")]

    driven.answer(*LOG)
    assert [(commit.adopt, list(commit.batches)) for commit in driven.commits] == [(LOG_ID, LOG)]
    assert driven.intake.state == FOLLOWING
    assert (driven.acks[-1].log_id, driven.acks[-1].acked) == (LOG_ID, END)


def test_an_empty_log_is_adopted_too() -> None:
    driven = DrivenIntake(log_id=None)
    driven.receive(make_beat(0))
    driven.answer()
    assert [(commit.adopt, commit.batches) for commit in driven.commits] == [(LOG_ID, ())]
    driven.receive(make_live(LOG[0]))
    assert driven.stored == LOG[:1]


def test_nothing_else_makes_a_secondary_adopt_a_log() -> None:
    driven = DrivenIntake(log_id=None)
    driven.receive(make_fetched("request-1", *LOG))
    driven.receive(make_live(*LOG), make_beat(END.offset), make_live(*LOG))
    driven.receive(make_fetched("request-of-another", *LOG))
    driven.receive(make_fetched("request-1", *LOG, reign=make_reign(2)))
    assert driven.commits == []
    assert driven.intake.log_id is None


def test_what_came_while_joining_need_not_be_fetched() -> None:
    driven = DrivenIntake(log_id=None)
    driven.receive(make_live(LOG[2]), make_beat(END.offset))
    driven.answer(*LOG[:2], end_offset=3)
    assert driven.stored == LOG
    assert len(driven.fetches) == 1


def test_a_secondary_that_lacks_nothing_fetches_nothing() -> None:
    driven = DrivenIntake(*LOG)
    driven.receive(make_beat(END.offset))
    driven.wait_until(60.0)
    assert driven.fetches == []


def test_a_beat_that_tells_of_more_starts_a_fetch_from_the_own_end() -> None:
    driven = following_intake(*LOG[:2])
    driven.receive(make_beat(END.offset))
    assert driven.fetches == [Fetch("node1", LOG_ID, 3, "request-1", "answers")]


def test_one_fetch_at_a_time_until_all_is_there() -> None:
    driven = following_intake()
    driven.receive(make_beat(END.offset), make_beat(END.offset))
    for answered, batch in enumerate(LOG, 1):
        assert len(driven.fetches) == answered
        assert driven.fetches[-1].from_offset == batch.first_offset
        driven.answer(batch, end_offset=END.offset)
    assert driven.stored == LOG
    assert len(driven.fetches) == 3


def test_the_next_fetch_does_not_wait_for_the_disk() -> None:
    driven = following_intake(slow_disk=True)
    driven.receive(make_beat(END.offset))
    driven.answer(LOG[0], end_offset=END.offset)
    assert driven.due is not None
    assert driven.fetches[-1].from_offset == 1


def test_a_fetch_that_is_not_answered_in_time_is_made_anew_under_another_id() -> None:
    driven = following_intake()
    driven.receive(make_beat(END.offset))
    assert driven.intake.next_wakeup() == DEFAULT.fetch_s
    driven.wait_until(DEFAULT.fetch_s - 0.1)
    assert len(driven.fetches) == 1
    driven.wait_until(DEFAULT.fetch_s)
    assert len({fetch.request_id for fetch in driven.fetches}) == len(driven.fetches) == 2
    driven.answer(*LOG)
    assert driven.stored == LOG


def test_each_timeout_doubles_the_next_one_up_to_a_bound_until_the_next_connection() -> None:
    driven = following_intake()
    driven.receive(make_beat(END.offset))
    due, timeout = 0.0, DEFAULT.fetch_s
    for fetches in range(1, 9):
        assert len(driven.fetches) == fetches
        due += timeout
        assert driven.intake.next_wakeup() == due
        driven.wait_until(due)
        timeout = min(2 * timeout, DEFAULT.max_fetch_s)
    assert timeout == DEFAULT.max_fetch_s

    driven.intake.connection_lost()
    driven.intake.connected("new answers")
    driven.receive(make_beat(END.offset))
    assert driven.intake.next_wakeup() == driven.now + DEFAULT.fetch_s


def test_answers_that_take_longer_than_the_first_timeout_end_the_chase_all_the_same() -> None:
    driven = following_intake()
    driven.receive(make_beat(END.offset))
    due: list[float] = []
    for second in range(1, 100):
        due.extend(driven.now + 2 * DEFAULT.fetch_s for _ in driven.fetches[len(due) :])
        driven.wait_until(float(second))
        for fetch, at in zip(driven.fetches, due, strict=False):
            if at == driven.now:
                driven.receive(make_fetched(fetch.request_id, *LOG[fetch.from_offset :]))
    assert driven.stored == LOG
    assert driven.intake.counts["unasked"] > 0


def test_an_answer_sets_the_next_timeout_by_the_time_it_took() -> None:
    for took, timeout in ((0.1, DEFAULT.fetch_s), (4.0, 8.0)):
        driven = following_intake()
        driven.receive(make_beat(END.offset))
        driven.wait_until(took)
        driven.answer(LOG[0], end_offset=END.offset)
        assert driven.intake.next_wakeup() == took + timeout


def test_however_long_an_answer_took_the_timeout_is_bounded() -> None:
    driven = following_intake()
    driven.receive(make_beat(END.offset))
    driven.wait_until(75.0 + 79.0)  # The fifth fetch went out at 75 and may take 80.
    driven.answer(LOG[0], end_offset=END.offset)
    assert driven.intake.next_wakeup() == driven.now + DEFAULT.max_fetch_s


def test_a_fetch_from_a_queue_that_is_no_more_is_made_anew_at_once() -> None:
    driven = following_intake()
    driven.receive(make_beat(END.offset), make_beat(END.offset))
    assert len(driven.fetches) == 1
    driven.receive(make_beat(END.offset, reply_to="new acks"))
    assert [send.to for send in driven.sent if isinstance(send.delivery, Fetch)] == ["acks", "new acks"]
    driven.receive(make_fetched(driven.fetches[0].request_id, *LOG))
    assert driven.stored == []
    driven.receive(make_live(LOG[2], reply_to="newest acks"), make_beat(END.offset, reply_to="newest acks"))
    assert [send.to for send in driven.sent if isinstance(send.delivery, Fetch)][2:] == ["newest acks"]
    driven.answer(*LOG)
    assert driven.stored == LOG


def test_a_full_disk_is_not_asked_at_once_to_note_an_epoch_again() -> None:
    driven = following_intake(*LOG, slow_disk=True)
    driven.receive(make_beat(END.offset, reign=make_reign(2)))
    for retry in (1, 2):
        driven.finish_commit(full=True)
        assert driven.due is None
        driven.wait_until(retry * DEFAULT.disk_full_retry_s)
        assert driven.due is not None
    driven.finish_commit()
    assert [commit.epoch for commit in driven.commits] == [2]


def test_a_log_that_waits_to_be_adopted_is_joined_again_when_the_commit_before_finds_no_room() -> None:
    driven = DrivenIntake(slow_disk=True)
    driven.receive(make_beat(0))
    driven.receive(make_beat(1, reign=make_reign(3, log_id=OTHER_LOG_ID)))
    theirs = make_batch("x", log_id=OTHER_LOG_ID, epoch=3)
    driven.answer(theirs)
    driven.finish_commit(full=True)
    assert driven.intake.state == JOINING
    driven.wait_until(DEFAULT.disk_full_retry_s)
    driven.answer(theirs)
    driven.finish_commit()
    assert [(commit.adopt, commit.epoch) for commit in driven.commits] == [(OTHER_LOG_ID, 3)]


def test_when_live_batches_overtake_an_answer_the_rest_is_fetched_at_once() -> None:
    driven = following_intake()
    driven.receive(make_beat(END.offset))
    driven.receive(make_live(LOG[0]), make_live(LOG[1]))
    driven.answer(LOG[0], end_offset=END.offset)
    assert [fetch.from_offset for fetch in driven.fetches] == [0, LOG[1].end.offset]
    driven.answer(LOG[2])
    assert driven.stored == LOG


def test_what_the_master_can_not_give_is_asked_for_again_with_the_next_beat_only() -> None:
    driven = following_intake()
    driven.receive(make_beat(END.offset))
    for asked in (1, 2, 3):
        driven.answer(end_offset=END.offset)
        driven.wait_until(driven.now + 60.0)
        assert len(driven.fetches) == asked
        driven.receive(make_beat(END.offset))


def test_an_answer_that_can_not_be_taken_is_asked_for_again_with_the_next_beat_only() -> None:
    driven = following_intake()
    driven.receive(make_beat(END.offset))
    for answer in (LOG[1], make_batch("of an epoch to come", epoch=2)):
        asked = len(driven.fetches)
        driven.answer(answer, end_offset=END.offset)
        driven.wait_until(driven.now + 60.0)
        assert len(driven.fetches) == asked
        driven.receive(make_beat(END.offset))
    driven.answer(*LOG)
    assert driven.stored == LOG


def test_with_the_connection_the_fetch_is_lost_and_made_anew_after_the_next_beat() -> None:
    driven = following_intake()
    driven.receive(make_beat(END.offset))
    driven.intake.connection_lost()
    driven.wait_until(DEFAULT.fetch_s / 2)
    driven.intake.connected("new answers")
    driven.act()
    assert len(driven.fetches) == 1

    driven.receive(make_fetched(driven.fetches[0].request_id, *LOG))
    assert driven.stored == []
    driven.receive(make_beat(END.offset))
    assert driven.fetches[1].reply_to == "new answers"
    driven.answer(*LOG)
    assert driven.stored == LOG


def test_a_full_disk_stops_persisting_and_acking_until_there_is_room() -> None:
    driven = following_intake(LOG[0], slow_disk=True)
    driven.receive(make_live(LOG[1]))
    driven.finish_commit(full=True)
    driven.receive(make_live(LOG[2]), make_beat(END.offset))
    assert driven.notices == ["the disk is full: nothing is persisted or acked until there is room"]
    assert (driven.stored, driven.due, driven.fetches) == (LOG[:1], None, [])
    assert driven.acked_ends == [1]

    for retry in (1, 2):
        driven.wait_until(retry * DEFAULT.disk_full_retry_s)
        assert driven.fetches[-1].from_offset == 1
        assert len(driven.fetches) == retry
        driven.answer(*LOG[1:])
        driven.finish_commit(full=retry == 1)
    assert driven.stored == LOG
    assert driven.notices[1:] == ["there is room on the disk again"]
    assert driven.acks[-1].acked == END
    assert driven.intake.counts["fetch timeouts"] == 0


def test_a_log_that_could_not_be_adopted_for_want_of_room_is_joined_again() -> None:
    driven = DrivenIntake(log_id=None, slow_disk=True)
    driven.receive(make_beat(END.offset))
    driven.answer(*LOG)
    driven.finish_commit(full=True)
    assert driven.intake.state == JOINING
    assert driven.intake.accepted == START

    driven.wait_until(DEFAULT.disk_full_retry_s)
    assert driven.fetches[-1].log_id is None
    driven.answer(*LOG)
    driven.finish_commit()
    assert [(commit.adopt, list(commit.batches)) for commit in driven.commits] == [(LOG_ID, LOG)]
