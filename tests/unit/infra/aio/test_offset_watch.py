"""Waiting for an offset to get beyond a place."""

import asyncio

from infra.aio.offset_watch import OffsetWatch


class Offset:
    """What a mark reads."""

    def __init__(self) -> None:
        self.now = 0
        self.mark = OffsetWatch(lambda: self.now)

    def move(self, to: int) -> None:
        self.now = to
        self.mark.moved()


async def settled() -> None:
    """Let every task run as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_those_who_wait_are_woken_once_the_mark_is_beyond_their_place_and_no_sooner() -> None:
    offset = Offset()
    woken: list[int] = []

    async def wait(place: int) -> None:
        await offset.mark.passed(place)
        woken.append(place)

    async with asyncio.TaskGroup() as waiting:
        for place in (3, 0, 1, 1, 7):
            waiting.create_task(wait(place))
        await settled()
        assert woken == []
        offset.move(1)
        await settled()
        assert woken == [0]
        offset.move(3)
        await settled()
        assert sorted(woken) == [0, 1, 1]
        offset.move(8)
    assert sorted(woken) == [0, 1, 1, 3, 7]


async def test_nobody_waits_for_what_is_passed_already() -> None:
    offset = Offset()
    offset.now = 5
    async with asyncio.TaskGroup() as waiting:
        wait = waiting.create_task(offset.mark.passed(4))
        await settled()
        assert wait.done()


async def test_who_is_woken_too_late_because_the_mark_went_back_waits_again() -> None:
    offset = Offset()
    async with asyncio.TaskGroup() as waiting:
        wait = waiting.create_task(offset.mark.passed(0))
        await settled()
        offset.move(1)
        offset.move(0)
        await settled()
        assert not wait.done()
        offset.move(1)


async def test_a_wait_that_is_cancelled_leaves_the_others_at_the_same_place_waiting() -> None:
    offset = Offset()
    async with asyncio.TaskGroup() as waiting:
        stays, leaves = (waiting.create_task(offset.mark.passed(2)) for _ in range(2))
        await settled()
        leaves.cancel()
        await settled()
        assert leaves.cancelled()
        assert not stays.done()
        offset.move(3)


async def test_what_nobody_waits_for_any_more_takes_no_memory() -> None:
    offset = Offset()
    async with asyncio.TaskGroup() as waiting:
        waits = [waiting.create_task(offset.mark.passed(place)) for place in (5, 3, 3, 9)]
        await settled()
        assert sorted(offset.mark.places) == [3, 5, 9]
        for wait in waits:
            wait.cancel()
    assert offset.mark.places == []
