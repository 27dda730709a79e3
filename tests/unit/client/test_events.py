"""Server-sent events, cut anywhere."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.events import Event, EventParser, EventTooLongError

STREAM = (
    "id: 4\n\n: nothing new\n\nid: 5\ndata: первый\n\nid: 6\r\nevent: other\r\ndata:a\r\ndata: b\r\n\r\n"
    "data\n\nid: 9\ndata: not complete\n"
).encode()
EVENTS = [Event("message", "первый"), Event("other", "a\nb"), Event("message", "")]


@given(st.lists(st.integers(0, len(STREAM))))
def test_the_same_events_come_however_the_stream_is_cut(cuts: list[int]) -> None:
    parser = EventParser(1000)
    ends = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[begin:end] for begin, end in pairwise(ends)]
    assert [event for piece in pieces for event in parser.feed(piece)] == EVENTS
    assert parser.last_id == "6"


def test_an_id_without_an_event_counts() -> None:
    parser = EventParser(1000)
    assert list(parser.feed(b"id: 41\n\n")) == []
    assert parser.last_id == "41"


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 100, b"x" * 10, b"data: x\n" * 10])
def test_what_is_held_back_is_bounded(piece: bytes) -> None:
    parser = EventParser(1000)
    with pytest.raises(EventTooLongError):
        _ = [list(parser.feed(piece)) for _ in range(1000)]
