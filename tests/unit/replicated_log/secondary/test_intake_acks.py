"""What a secondary announces, and when: never more than is on disk, and that as late as it is told to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import replicated_log.secondary.intake
from replicated_log.secondary.intake import Latency
from replicated_log.wire.batch import START
from replicated_log.wire.delivery import FOLLOWING, Ack
from tests.unit.builders import LOG_ID, REIGN, make_batches, make_beat, make_live, make_reign
from tests.unit.driven_intake import DrivenIntake, following_intake

LOG = make_batches(*(str(offset) for offset in range(100)))


def test_an_ack_says_who_holds_how_much_of_what_and_whom_it_follows() -> None:
    driven = following_intake()
    driven.receive(make_beat(number=7))
    driven.receive(make_live(*LOG[:3]))
    assert driven.acks[1:] == [
        Ack(
            node="node1",
            disk_id="disk-1",
            log_id=LOG_ID,
            epoch=1,
            reign=REIGN,
            beat=7,
            acked=LOG[2].end,
            state=FOLLOWING,
            covers="2",
        )
    ]


def test_an_ack_names_the_newest_beat_that_was_heard_of_the_followed_reign() -> None:
    driven = following_intake(LOG[0])
    rival, newer = make_reign(1, "rival"), make_reign(2)
    for number, reign in ((5, REIGN), (4, REIGN), (9, rival), (6, REIGN), (2, newer), (7, REIGN)):
        driven.receive(make_beat(number=number, reign=reign))
    assert [(ack.reign, ack.beat) for ack in driven.acks] == [
        (REIGN, 5),
        (REIGN, 5),
        (REIGN, 5),
        (REIGN, 6),
        (newer, 2),
        (newer, 2),
    ]


def test_every_beat_is_answered_with_an_ack() -> None:
    driven = following_intake(*LOG[:3])
    for _ in range(3):
        driven.receive(make_beat(3))
    assert [(send.to, ack.acked) for send, ack in zip(driven.sent, driven.acks, strict=True)] == [
        ("acks", LOG[2].end)
    ] * 3


def test_what_is_on_disk_when_the_process_starts_is_acked_without_delay() -> None:
    driven = DrivenIntake(*LOG[:3], ack_delay_s=3.0)
    driven.receive(make_beat(3))
    assert driven.acked_ends == [3]


def test_a_hundred_concurrent_records_are_acked_three_seconds_later_not_three_hundred() -> None:
    driven = following_intake(ack_delay_s=3.0)
    for at, batch in enumerate(LOG):
        driven.wait_until(at * 0.001)
        driven.receive(make_live(batch))
    assert driven.stored == LOG
    driven.wait_until(2.999)
    assert driven.acks == []
    driven.wait_until(3.0495)
    assert driven.acked_ends == list(range(1, 51))
    driven.wait_until(3.1)
    assert driven.acked_ends == list(range(1, 101))


def test_no_ack_announces_more_than_its_delay_has_released() -> None:
    driven = following_intake(ack_delay_s=3.0)
    driven.receive(make_live(LOG[0]))
    driven.wait_until(2.0)
    driven.receive(make_live(LOG[0]), make_live(LOG[1]), make_beat(2))
    assert driven.intake.on_disk == LOG[1].end
    assert {(ack.acked, ack.covers) for ack in driven.acks} == {(START, None)}
    driven.wait_until(3.0)
    driven.receive(make_beat(2))
    assert driven.acked_ends[-2:] == [1, 1]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 5), st.sampled_from(["batch", "beat"])), max_size=30))
def test_however_the_delay_varies_acks_keep_the_order_and_never_come_early(
    steps: list[tuple[float, float, str]],
) -> None:
    driven = following_intake()
    may_be_acked_at = []
    for pause, delay, step in steps:
        driven.wait_until(driven.now + pause)
        driven.intake.latency = Latency(ack_delay_s=delay)
        if step == "batch":
            driven.receive(make_live(LOG[driven.end.offset]))
            may_be_acked_at.append(driven.now + delay)
        else:
            driven.receive(make_beat(driven.end.offset))
        assert driven.intake.acked.offset <= sum(at <= driven.now for at in may_be_acked_at)
    driven.wait_until(driven.now + 5.0)
    assert driven.acked_ends == sorted(driven.acked_ends)
    assert driven.intake.acked == driven.intake.on_disk


def test_a_delay_before_the_disk_is_pipelined_and_keeps_the_order() -> None:
    driven = following_intake(persist_delay_s=3.0)
    for at, batch in enumerate(LOG):
        driven.wait_until(at * 0.001)
        driven.receive(make_live(batch))
    driven.wait_until(2.999)
    assert (driven.stored, driven.acks) == ([], [])
    driven.wait_until(3.0495)
    assert driven.stored == LOG[:50]
    driven.wait_until(3.1)
    assert driven.stored == LOG
    assert driven.acked_ends == list(range(1, 101))


def test_acks_released_without_a_connection_are_made_up_for_by_the_next_beat() -> None:
    driven = following_intake(ack_delay_s=3.0)
    driven.receive(make_live(LOG[0]))
    driven.intake.connection_lost()
    driven.wait_until(3.0)
    assert driven.acks == []
    driven.intake.connected("new answers")
    driven.receive(make_beat(1, reply_to="new acks"))
    assert [(send.to, ack.acked) for send, ack in zip(driven.sent, driven.acks, strict=True)] == [
        ("new acks", LOG[0].end)
    ]


def test_delayed_acks_are_bounded_and_the_last_one_is_always_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicated_log.secondary.intake, "MAX_DELAYED_ACKS", 2)
    driven = following_intake(ack_delay_s=3.0)
    for at, batch in enumerate(LOG[:10]):
        driven.wait_until(at * 0.1)
        driven.receive(make_live(batch))
    driven.wait_until(4.0)
    assert driven.acked_ends == [1, 10]
