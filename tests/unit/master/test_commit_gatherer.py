"""When the master commits what clients append at about the same time."""

import asyncio

import pytest

from master.commit_gatherer import ENOUGH_RECORDS, MAX_TURNS, CommitGatherer


class Turns:
    """Appends so many in each turn of the loop, and notes how many had come whenever a commit was to begin."""

    def __init__(self) -> None:
        self.came = 0
        self.begun: list[int] = []
        self.gathering = CommitGatherer(lambda: self.begun.append(self.came))

    async def bring(self, *numbers: int, records: int = 1) -> list[int]:
        """Appends of so many ``records`` each."""
        for number in numbers:
            self.came += number
            for _ in range(number):
                self.gathering.one_more(records)
            await asyncio.sleep(0)
        return self.begun


async def test_one_that_comes_alone_waits_for_nobody() -> None:
    assert await Turns().bring(1) == [1]
    assert await Turns().bring(1, 0, 1, 1) == [1, 2, 3]


@pytest.mark.parametrize("numbers", [(2, 0), (5, 0), (5, 1), (2, 3, 0), (2, 2, 2, 1)])
async def test_while_several_come_in_a_turn_those_of_the_next_are_awaited(numbers: tuple[int, ...]) -> None:
    assert await Turns().bring(*numbers) == [sum(numbers)]


async def test_nobody_waits_longer_than_some_turns() -> None:
    assert await Turns().bring(*[2] * (2 * MAX_TURNS)) == [2 * MAX_TURNS, 4 * MAX_TURNS]


async def test_nobody_waits_once_there_are_enough_records() -> None:
    assert await Turns().bring(2, 2, records=ENOUGH_RECORDS // 2) == [2, 4]
    assert await Turns().bring(2, 1, records=ENOUGH_RECORDS // 3) == [3]


async def test_it_begins_anew_each_time() -> None:
    assert await Turns().bring(2, 0, 0, 3, 0, 1) == [2, 5, 6]
    turns = Turns()
    await turns.bring(2, 0, records=ENOUGH_RECORDS)
    assert await turns.bring(2, 1, 0) == [2, 5]
