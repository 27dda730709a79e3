from hypothesis import given
from hypothesis import strategies as st

from replicated_log.secondary.delay_line import DelayLine

TIMES = st.floats(0, 100)


@given(st.lists(TIMES), TIMES)
def test_things_leave_in_the_order_they_came_and_never_before_they_are_due(dues: list[float], now: float) -> None:
    line: DelayLine[int] = DelayLine()
    for item, due in enumerate(dues):
        line.put(item, due)

    left = []
    while (item_out := line.take(now)) is not None:
        left.append(item_out)

    assert left == [item for item in range(len(dues)) if max(dues[: item + 1]) <= now]
    assert len(line) == len(dues) - len(left)
    if len(line):
        assert line.next_due == max(dues[: len(left) + 1]) > now
    else:
        assert line.next_due is None


def test_they_wait_side_by_side() -> None:
    line: DelayLine[int] = DelayLine()
    for item in range(100):
        line.put(item, due=item * 0.001 + 3.0)

    assert line.take(2.999) is None
    assert [line.take(3.1) for _ in range(100)] == list(range(100))


def test_the_last_one_can_be_taken_back_and_the_line_emptied() -> None:
    line: DelayLine[str] = DelayLine()
    line.put("first", 1.0)
    line.put("last", 9.0)
    line.drop_last()
    line.put("instead", 2.0)
    assert [line.take(2.0), line.take(2.0)] == ["first", "instead"]

    line.put("one", 1.0)
    line.clear()
    assert (len(line), line.next_due, line.take(99.0)) == (0, None, None)
