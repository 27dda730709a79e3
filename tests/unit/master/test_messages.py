"""Many messages in one body: read at once, they are what they are line by line, or nothing at all."""

import json
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.http.bodies import SMALL_JSON
from infra.http.problems import HttpProblem
from master.messages import TURN_CHARACTERS, _messages_at_once, _messages_one_by_one, _turns

# What is no line by itself may well be one together with its neighbours.
FRAGMENTS = (
    *(
        '"a"',
        '"é"',
        '{"message": "b"}',
        ' {"message":"c"}\r',
        '"a", "b"',
        '"a",',
        ',"b"',
        '"a',
        'b"',
        '""',
        '"\\ud800"',
    ),
    *('{"message": "a"', '"message": "b"}', '{"message": "a", "message": "b"}', '{"message": 1}', '{"w": 1}', "{", "}"),
    *(
        "[",
        "]",
        '["a"',
        '"b"]',
        '["a"]',
        "1",
        "null",
        "NaN",
        "",
        " ",
        '"a"]',
        '["b"',
        '"\t"',
        "\\",
        ":",
        '"a":',
        "[[" * 5000,
    ),
)


def agree(lines: list[str]) -> None:
    at_once = _messages_at_once(lines)
    try:
        one_by_one = _messages_one_by_one(lines, 1)
    except HttpProblem:
        assert at_once is None
    else:
        assert at_once in (None, one_by_one)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_lines_that_are_none_by_themselves_are_none_together(count: int) -> None:
    for lines in product(FRAGMENTS, repeat=count):
        agree(list(lines))


@given(
    st.lists(st.sampled_from(FRAGMENTS) | st.text(st.characters(exclude_characters="\n")).map(json.dumps), min_size=1)
)
def test_lines_read_at_once_are_what_they_are_one_by_one(lines: list[str]) -> None:
    agree(lines)


@pytest.mark.parametrize("line", ['"a"', '{"message": "a"}', '"é"', '"' + "a" * (SMALL_JSON - 2) + '"'])
def test_sound_lines_are_read_at_once(line: str) -> None:
    assert _messages_at_once([line] * 3) == _messages_one_by_one([line] * 3, 1)


def test_a_large_line_is_read_by_itself() -> None:
    assert _messages_at_once(['"a"', '"' + "a" * SMALL_JSON + '"']) is None


@given(st.lists(st.integers(0, 2 * TURN_CHARACTERS).map(lambda size: "a" * size), max_size=20))
def test_lines_are_read_in_turns_that_leave_none_out(lines: list[str]) -> None:
    turns = list(_turns(lines))
    assert [line for turn in turns for line in turn] == lines
    assert all(sum(map(len, turn[:-1])) <= TURN_CHARACTERS for turn in turns)
    assert all(turns)
