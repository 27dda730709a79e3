"""Waits end when their time is over, and leave nothing behind when they are over before."""

import asyncio

from master.deadlines import GRAIN_S, Deadlines
from tests.cluster import PATIENCE_S


class Ended:
    """Notes whose time was over, and when."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}
        self.deadlines = Deadlines[str](self.give_up)
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._one_more = asyncio.Event()

    def give_up(self, waiter: str) -> None:
        assert waiter not in self.times
        self.times[waiter] = self._loop.time() - self._began
        self._one_more.set()

    async def all_ended(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.deadlines):
                self._one_more.clear()
                await self._one_more.wait()
        assert not self.deadlines._groups
        assert not self.deadlines._timers


async def test_each_wait_ends_once_and_not_before_its_time() -> None:
    ended = Ended()
    timeouts = {f"{number}": number * GRAIN_S / 4 for number in range(40)}
    for waiter, timeout_s in timeouts.items():
        ended.deadlines.add(waiter, timeout_s)
    await ended.all_ended()
    assert ended.times.keys() == timeouts.keys()
    assert all(ended.times[waiter] >= timeout_s for waiter, timeout_s in timeouts.items())


async def test_a_wait_that_is_over_before_does_not_end_again() -> None:
    ended = Ended()
    for waiter in ("a", "b", "c"):
        ended.deadlines.add(waiter, GRAIN_S)
    assert ended.deadlines.discard("a")
    assert not ended.deadlines.discard("a")
    await ended.all_ended()
    assert sorted(ended.times) == ["b", "c"]


async def test_who_gives_up_may_end_the_waits_of_others_and_begin_new_ones() -> None:
    ended = Ended()
    more = ["d", "e"]

    def give_up(waiter: str) -> None:
        deadlines.discard("b" if waiter == "a" else "a")
        if more:
            deadlines.add(more.pop(), 0)
        ended.give_up(waiter)

    deadlines = ended.deadlines = Deadlines[str](give_up)
    for waiter in ("a", "b", "c"):
        deadlines.add(waiter, 0)
    await ended.all_ended()
    assert len(ended.times) == 4
    assert len({"a", "b"} & ended.times.keys()) == 1


async def test_waits_are_shortened_and_never_made_longer() -> None:
    ended = Ended()
    ended.deadlines.add("long", 3600)
    ended.deadlines.add("short", 0)
    ended.deadlines.shorten(20 * GRAIN_S)
    await ended.all_ended()
    assert ended.times["short"] < ended.times["long"]
    assert ended.times["long"] >= 20 * GRAIN_S


async def test_nothing_is_left_of_waits_that_are_over() -> None:
    ended = Ended()
    for round_ in range(1000):
        ended.deadlines.add(f"{round_}", 60)
        ended.deadlines.discard(f"{round_}")
    assert not ended.deadlines._timers
