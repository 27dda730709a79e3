import gc
import sys
from collections.abc import Sequence
from itertools import chain

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from replicated_log.master.waiters import Waiters

OFFSETS = st.integers(0, 20)
WS = st.integers(1, 3)


class AgainstAList(RuleBasedStateMachine):
    """The same waits in the clever collection and in a list, with ends that go up and down."""

    def __init__(self) -> None:
        super().__init__()
        self.waiters: Waiters[int] = Waiters()
        self.waiting: list[tuple[int, int, int]] = []
        self.added = 0

    @rule(offset=OFFSETS, w=WS, count=st.integers(1, 100))
    def add(self, offset: int, w: int, count: int) -> None:
        waiters = range(self.added, self.added + count)
        self.waiters.add(waiters, offset, w)
        self.waiting += [(waiter, offset, w) for waiter in waiters]
        self.added += count

    @rule(first=st.integers(0, 500), count=st.integers(1, 200))
    def forget(self, first: int, count: int) -> None:
        before = len(self.waiters)
        for waiter in range(first, first + count):
            self.waiters.forget(waiter)
        if len(self.waiters) < before:
            assert self.waiters._forgotten <= max(64, len(self.waiters))
        self.waiting = [wait for wait in self.waiting if wait[0] not in range(first, first + count)]

    @rule(ends=st.lists(OFFSETS, min_size=3, max_size=3))
    def pop_reached(self, ends: Sequence[int]) -> None:
        held = sorted(ends, reverse=True)
        reached = {waiter for waiter, offset, w in self.waiting if offset < held[w - 1]}
        self.waiting = [wait for wait in self.waiting if wait[0] not in reached]
        assert sorted(chain(*self.waiters.pop_reached(lambda w: held[w - 1]))) == sorted(reached)

    @invariant()
    def as_many_wait(self) -> None:
        assert len(self.waiters) == len(self.waiting)

    @invariant()
    def those_that_were_forgotten_and_are_still_there_are_counted(self) -> None:
        kept = sum(len(waiters) for heap in self.waiters._heaps.values() for _, _, waiters in heap)
        assert self.waiters._forgotten == kept - len(self.waiting)


TestAgainstAList = AgainstAList.TestCase
TestAgainstAList.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)


@given(st.permutations(range(10)))
def test_those_with_the_same_w_come_out_by_offset_and_then_by_age(offsets: Sequence[int]) -> None:
    waiters: Waiters[tuple[int, str]] = Waiters()
    for offset in offsets:
        waiters.add([(offset, "first"), (offset, "beside")], offset, w=1)
        waiters.add([(offset, "second")], offset, w=1)

    reached = list(chain(*waiters.pop_reached(lambda _: 5)))

    assert reached == [(offset, age) for offset in range(5) for age in ("first", "beside", "second")]


def test_waits_that_nobody_waits_for_any_more_take_bounded_memory_and_disturb_no_others() -> None:
    waiters: Waiters[int] = Waiters()
    offsets = [number * 7_919 % 10_007 for number in range(10_000)]
    living = range(0, 5_000, 50)
    gc.collect()
    before = sys.getallocatedblocks()

    for number in range(0, 10_000, 50):
        group = range(number, number + 50)
        waiters.add(list(group), offsets[number], w=3)
        for waiter in group:
            if waiter not in living:
                waiters.forget(waiter)
    gc.collect()

    assert len(waiters) == len(living)
    assert sys.getallocatedblocks() - before < 2_000
    for end in range(0, 10_007, 1_000):
        reached = list(chain(*waiters.pop_reached({3: end}.__getitem__)))
        assert reached == sorted((t for t in living if end - 1_000 <= offsets[t] < end), key=offsets.__getitem__)
