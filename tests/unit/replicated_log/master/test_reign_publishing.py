"""What the master publishes, and when: in log order, in a bounded window, nothing twice."""

from collections.abc import Iterable
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from replicated_log.master.decisions import Commit, Publish
from replicated_log.master.publish_window import MAX_UNCONFIRMED
from replicated_log.master.reign import Reign
from replicated_log.timings import DEFAULT
from replicated_log.wire.batch import START
from replicated_log.wire.delivery import MAX_DELIVERY_BYTES, Beat, LiveBatches
from tests.unit.builders import REIGN, make_ack, only


def new_reign(*secondaries: str) -> Reign[int]:
    return Reign[int](REIGN, secondaries, START)


WAITERS = count()


def append_and_commit(reign: Reign[int], size: int = 1) -> list[LiveBatches | Beat]:
    """Do all that one append of one message asks for, and return what is published."""
    reign.append(next(WAITERS), [b"x" * size], w=1, time_ms=0, now=0.0)
    decisions = reign.decisions()
    reign.committed()
    return published([*decisions, *reign.decisions()])


def published(decisions: Iterable[object]) -> list[LiveBatches | Beat]:
    return [decision.delivery for decision in decisions if isinstance(decision, Publish)]


def offsets(deliveries: Iterable[LiveBatches | Beat]) -> list[list[int]]:
    live = (delivery for delivery in deliveries if isinstance(delivery, LiveBatches))
    return [[batch.first_offset for batch in delivery.batches] for delivery in live]


def test_a_bounded_window_of_deliveries_is_unconfirmed_and_what_waits_goes_in_one() -> None:
    reign = new_reign()
    reign.connected("acks")
    for offset in range(MAX_UNCONFIRMED):
        assert offsets(append_and_commit(reign)) == [[offset]]
    for _ in range(3):
        assert append_and_commit(reign) == []
    reign.tick(0.0)
    assert published(reign.decisions()) == [Beat(REIGN, 1, MAX_UNCONFIRMED, MAX_UNCONFIRMED + 3, "acks")]

    reign.confirmed()
    assert offsets(published(reign.decisions())) == [[16, 17, 18]]
    assert append_and_commit(reign) == []


def test_what_waits_goes_in_deliveries_of_bounded_size() -> None:
    reign = new_reign()
    reign.connected("acks")
    for _ in range(MAX_UNCONFIRMED):
        append_and_commit(reign)
    for _ in range(3):
        append_and_commit(reign, size=MAX_DELIVERY_BYTES // 2 - 100)
    reign.confirmed()
    reign.confirmed()
    assert offsets(published(reign.decisions())) == [[16, 17], [18]]


def test_when_too_much_waits_publishing_goes_on_at_the_end_and_a_beat_says_what_was_skipped() -> None:
    reign = new_reign()
    reign.connected("acks")
    for _ in range(MAX_UNCONFIRMED):
        append_and_commit(reign)
    for _ in range(5):
        append_and_commit(reign, size=MAX_DELIVERY_BYTES - 100)
    assert reign.published_end == 21
    reign.confirmed()
    assert reign.decisions() == []

    reign.tick(0.0)
    assert published(reign.decisions()) == [Beat(REIGN, 1, 21, 21, "acks")]
    assert offsets(append_and_commit(reign)) == [[21]]


def test_without_a_connection_nothing_is_published_and_later_only_what_is_new() -> None:
    reign = new_reign()
    assert append_and_commit(reign) == []
    reign.tick(0.0)
    assert reign.decisions() == []

    reign.connected("acks")
    reign.tick(0.0)
    assert published(reign.decisions()) == [Beat(REIGN, 1, 1, 1, "acks")]
    assert offsets(append_and_commit(reign)) == [[1]]


def test_after_a_reconnection_the_window_is_free_and_nothing_is_published_twice() -> None:
    reign = new_reign()
    reign.connected("acks")
    for _ in range(MAX_UNCONFIRMED + 2):
        append_and_commit(reign)
    reign.connection_lost()
    append_and_commit(reign)
    reign.connected("other acks")
    end = MAX_UNCONFIRMED + 3
    for offset in range(end, end + MAX_UNCONFIRMED):
        (live,) = append_and_commit(reign)
        assert offsets([live]) == [[offset]]
        assert live.reply_to == "other acks"
    assert append_and_commit(reign) == []


def test_a_confirm_of_a_former_connection_must_not_be_told() -> None:
    reign = new_reign()
    reign.connected("acks")
    append_and_commit(reign)
    reign.connection_lost()
    reign.connected("other acks")
    with pytest.raises(AssertionError):
        reign.confirmed()


def test_a_beat_goes_out_at_once_and_then_each_second() -> None:
    reign = new_reign()
    reign.connected("acks")
    beats_at = []
    for now in (100.0, 100.5, 100.9, 101.0, 101.1, 102.5, 103.4, 103.5):
        reign.tick(now)
        if reign.decisions():
            beats_at.append(now)
    assert beats_at == [100.0, 101.0, 102.5, 103.5]
    assert DEFAULT.beat_s == 1.0

    reign.connection_lost()
    reign.connected("acks")
    reign.tick(103.6)
    assert only(published(reign.decisions()), Beat)


def test_beats_are_numbered_through_all_connections_of_a_reign() -> None:
    reign = new_reign()
    numbers: list[int] = []
    for second in range(6):
        if second % 2 == 0:
            reign.connection_lost()
            reign.connected("acks")
        reign.tick(float(second))
        numbers.extend(beat.number for beat in only(published(reign.decisions()), Beat))
    assert numbers == [1, 2, 3, 4, 5, 6]


def test_what_is_on_disk_is_published_before_the_next_commit_begins() -> None:
    reign = new_reign()
    reign.connected("acks")
    reign.append(next(WAITERS), [b"x"], w=1, time_ms=0, now=0.0)
    reign.decisions()
    reign.append(next(WAITERS), [b"y"], w=1, time_ms=0, now=0.0)
    reign.committed()
    kinds = [type(decision) for decision in reign.decisions()]
    assert kinds.index(Publish) < kinds.index(Commit)


def test_a_beat_says_how_far_a_majority_holds_and_comes_after_the_batches_it_speaks_of() -> None:
    reign = new_reign("node1", "node2")
    reign.connected("acks")
    for node in ("node1", "node2"):
        reign.receive(make_ack(START, node=node), 0.0)
    append_and_commit(reign)
    reign.receive(make_ack(reign.progress.end), 0.0)
    reign.append(next(WAITERS), [b"x"], w=1, time_ms=0, now=0.0)
    reign.decisions()
    reign.committed()
    reign.tick(0.0)
    live, beat = published(reign.decisions())
    assert offsets([live]) == [[1]]
    assert beat == Beat(REIGN, number=1, end_offset=2, committed_end=1, reply_to="acks")


class WhateverHappens(RuleBasedStateMachine):
    """Appends, commits, confirms and connections in any order, with a broker that remembers everything."""

    def __init__(self) -> None:
        super().__init__()
        self.reign = new_reign()
        self.waiters = count()
        self.now = 0.0
        self.due: Commit | None = None
        self.on_disk = 0
        self.told = 0
        self.unconfirmed = 0
        self.connected = False

    @rule(size=st.sampled_from([1, 1, 1_000, 1 << 20]), times=st.integers(1, 4))
    def append(self, size: int, times: int) -> None:
        for _ in range(times):
            self.reign.append(next(self.waiters), [b"x" * size], w=1, time_ms=0, now=0.0)

    @precondition(lambda self: self.due)
    @rule(room=st.sampled_from([True, True, True, False]))
    def commit(self, room: bool) -> None:
        assert self.due is not None
        if room:
            self.on_disk = self.due.batches[-1].end.offset
            self.reign.committed()
        else:
            self.reign.commit_refused()
        self.due = None

    @precondition(lambda self: self.unconfirmed)
    @rule()
    def confirm(self) -> None:
        self.unconfirmed -= 1
        self.reign.confirmed()

    @rule()
    def connect(self) -> None:
        self.connected = True
        self.unconfirmed = 0
        self.reign.connected("acks")

    @rule()
    def disconnect(self) -> None:
        self.connected = False
        self.unconfirmed = 0
        self.reign.connection_lost()

    @rule()
    def beat(self) -> None:
        self.now += DEFAULT.beat_s
        self.reign.tick(self.now)

    @invariant()
    def obey(self) -> None:
        for decision in self.reign.decisions():
            if isinstance(decision, Commit):
                assert self.due is None
                assert decision.batches[0].first_offset == self.on_disk
                self.due = decision
            if isinstance(decision, Publish):
                assert self.connected
                self.take(decision.delivery)
        if self.connected and self.unconfirmed < MAX_UNCONFIRMED:
            assert self.reign.published_end == self.on_disk

    def take(self, delivery: LiveBatches | Beat) -> None:
        if isinstance(delivery, Beat):
            assert self.told <= delivery.end_offset <= self.on_disk
            self.told = delivery.end_offset
            return
        self.unconfirmed += 1
        assert self.unconfirmed <= MAX_UNCONFIRMED
        assert sum(len(batch.data) for batch in delivery.batches) <= MAX_DELIVERY_BYTES
        for batch in delivery.batches:
            assert self.told <= batch.first_offset
            self.told = batch.end.offset
        assert self.told <= self.on_disk


TestWhateverHappens = WhateverHappens.TestCase
TestWhateverHappens.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
