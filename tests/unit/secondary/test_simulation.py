"""What a secondary simulates keeps every promise: acks in order, none early, none beyond the disk."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicated_log.secondary.delay_line import DelayLine
from replicated_log.secondary.intake import Latency
from replicated_log.wire.batch import START
from replicated_log.wire.delivery import Ack, Fetch
from secondary.simulation import Effects, Simulation
from tests.unit.builders import make_batches, make_beat, make_live
from tests.unit.driven_intake import following_intake

LOG = make_batches(*(str(offset) for offset in range(100)))
ACK = Ack("node1", "d" * 32, None, 0, None, 0, START, "joining")


def test_latencies_are_drawn_between_the_delay_and_the_jitter_above_it() -> None:
    simulation = Simulation(Effects(ack_delay_s=2.0, ack_jitter_s=1.0, persist_delay_s=0.5))
    drawn = [simulation.draw() for _ in range(1000)]
    assert {latency.persist_delay_s for latency in drawn} == {0.5}
    assert 2.0 <= min(latency.ack_delay_s for latency in drawn) < 2.2
    assert 2.8 < max(latency.ack_delay_s for latency in drawn) <= 3.0 == simulation.longest.ack_delay_s


@pytest.mark.parametrize(
    ("effects", "times"),
    [
        (Effects(), {1}),
        (Effects(drop_ack_probability=1.0, repeat_ack_probability=1.0), {0}),
        (Effects(repeat_ack_probability=1.0), {2}),
        (Effects(drop_ack_probability=0.3, repeat_ack_probability=0.3), {0, 1, 2}),
    ],
)
def test_acks_are_dropped_and_repeated_with_their_probabilities(effects: Effects, times: set[int]) -> None:
    simulation = Simulation(effects)
    fell = [simulation.times(ACK) for _ in range(1000)]
    assert set(fell) == times
    assert (fell.count(0), fell.count(2)) == (simulation.dropped_acks, simulation.repeated_acks)
    assert simulation.times(Fetch("node1", None, 0, "request", "answers")) == 1


def test_a_line_can_be_hurried_and_keeps_its_order() -> None:
    line: DelayLine[str] = DelayLine()
    for due, item in ((1.0, "first"), (5.0, "second"), (9.0, "third")):
        line.put(item, due)
    line.let_leave_by(3.0)
    assert [line.take(2.9), line.take(2.9)] == ["first", None]
    line.put("fourth", 2.0)
    assert [line.take(3.0) for _ in range(4)] == ["second", "third", "fourth", None]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 5), st.sampled_from(["batch", "beat", "change"])), max_size=30))
def test_delays_that_change_while_acks_are_under_way_keep_the_order_and_are_felt_at_once(
    steps: list[tuple[float, float, str]],
) -> None:
    driven = following_intake()
    delay = 0.0
    may_be_acked_at: list[float] = []
    for pause, new_delay, step in steps:
        driven.wait_until(driven.now + pause)
        match step:
            case "batch":
                driven.receive(make_live(LOG[driven.end.offset]))
                may_be_acked_at.append(driven.now + delay)
            case "beat":
                driven.receive(make_beat(driven.end.offset))
            case "change":
                delay = new_delay
                driven.intake.simulate(Latency(ack_delay_s=delay), driven.now)
                driven.act()
                may_be_acked_at = [min(at, driven.now + delay) for at in may_be_acked_at]
        assert driven.intake.acked.offset <= sum(at <= driven.now for at in may_be_acked_at)
    driven.wait_until(driven.now + delay)
    assert driven.acked_ends == sorted(driven.acked_ends)
    assert driven.intake.acked == driven.intake.on_disk
