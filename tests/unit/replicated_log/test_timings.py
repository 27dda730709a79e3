"""What follows from the two numbers that an operator may set."""

from math import inf, nan

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from replicated_log.timings import DEFAULT, LEAST_S, MOST_S, Timings

SECONDS = st.floats(LEAST_S, MOST_S)


@st.composite
def timings(draw: st.DrawFn) -> Timings:
    """Of any two numbers that may be set."""
    suspected_s = draw(st.floats(LEAST_S, MOST_S, exclude_max=True))
    return Timings.of(suspected_s, draw(st.floats(suspected_s, MOST_S, exclude_min=True)))


def test_by_default_a_node_is_suspected_after_3_seconds_and_unhealthy_after_10() -> None:
    assert Timings.of() == DEFAULT == Timings.of(3, 10)
    assert (DEFAULT.suspected_s, DEFAULT.unhealthy_s) == (3, 10)


def test_by_default_everything_takes_as_long_as_it_did_before_it_could_be_set() -> None:
    assert (DEFAULT.beat_s, DEFAULT.beat_expires_s) == (1, 3)
    assert (DEFAULT.hearing_s, DEFAULT.hearing_unconnected_s) == (2, 4)
    assert (DEFAULT.fetch_s, DEFAULT.max_fetch_s, DEFAULT.disk_full_retry_s) == (5, 80, 1)
    assert (DEFAULT.silence_s, DEFAULT.publish_s, DEFAULT.watch_s, DEFAULT.heartbeat_s) == (10, 5, 1, 3)
    assert (DEFAULT.connect_s, DEFAULT.set_up_s, DEFAULT.declare_s, DEFAULT.close_s) == (5, 10, 3, 2)
    assert (DEFAULT.return_s, DEFAULT.retry_s) == (10, (0.1, 0.2, 0.5, 1.0))


@given(timings())
@example(Timings.of(LEAST_S, MOST_S))
def test_a_lost_beat_alone_makes_nobody_suspected(timings: Timings) -> None:
    assert 0 < timings.beat_s <= min(1.0, timings.suspected_s / 3)
    assert timings.beat_s < timings.beat_expires_s <= timings.suspected_s * 1.001


@given(timings())
def test_a_node_is_suspected_before_anybody_gives_up_its_session(timings: Timings) -> None:
    assert timings.suspected_s < timings.unhealthy_s <= timings.silence_s
    assert timings.watch_s <= timings.silence_s / 3
    assert timings.watch_s < timings.publish_s


@given(timings())
@example(Timings.of(LEAST_S, 2 * LEAST_S))
@example(Timings.of(MOST_S - 1, MOST_S))
def test_however_patient_the_cluster_a_broker_is_reached_and_large_deliveries_are_carried(timings: Timings) -> None:
    assert 2 <= timings.connect_s <= 5
    assert timings.declare_s + 4 <= timings.set_up_s <= 10
    assert 2 <= timings.publish_s <= 5
    assert 2 <= timings.return_s <= 10
    assert (timings.fetch_s, timings.max_fetch_s, timings.retry_s[0]) == (5, 80, 0.1)


@given(timings())
def test_a_new_master_can_hear_an_ack_of_its_first_beat_and_waits_longer_without_a_broker(timings: Timings) -> None:
    assert timings.beat_s < timings.hearing_s < timings.hearing_unconnected_s <= 2 * timings.suspected_s


@given(timings())
def test_pauses_and_fetches_only_grow_and_amqps_heartbeat_alarms_nobody_falsely(timings: Timings) -> None:
    assert timings.beat_s < timings.fetch_s < timings.max_fetch_s
    assert timings.retry_s == tuple(sorted(timings.retry_s))
    assert 2 <= timings.heartbeat_s <= 3


@given(SECONDS, SECONDS)
@example(3, 3)
def test_a_node_can_not_be_unhealthy_before_it_is_suspected(unhealthy_s: float, more_s: float) -> None:
    with pytest.raises(ValueError, match="less than unhealthy"):
        Timings.of(max(unhealthy_s, more_s), min(unhealthy_s, more_s))


@pytest.mark.parametrize(
    ("suspected_s", "unhealthy_s"),
    [(0, 1), (-3, 10), (LEAST_S / 2, 1), (3, MOST_S + 1), (3, inf), (inf, inf), (nan, 10), (3, nan)],
)
def test_numbers_that_no_cluster_could_live_with_are_refused(suspected_s: float, unhealthy_s: float) -> None:
    with pytest.raises(ValueError, match=r"0\.1 s at least.*120 s at most"):
        Timings.of(suspected_s, unhealthy_s)
