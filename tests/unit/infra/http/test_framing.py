"""Where bodies end, beside where llhttp says that they do."""

import pytest
from httptools import HttpParserError, HttpRequestParser
from hypothesis import example, given
from hypothesis import strategies as st

from infra.http.framing import MAX_CHUNK_LINE_BYTES, MAX_OVERHEAD_BYTES, BrokenBodyError, Chunks, Framing, Length

HEAD = b"POST / HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\n\r\n"
BEHIND = b"GET / HTTP/1.1\r\n"

PIECES = st.sampled_from(
    [
        b"3\r\nabc\r\n",
        b"3;a=b;c\r\nabc\r\n",
        b"00A\r\n0123456789\r\n",
        b"2\r\n\r\n\r\n",
        b"0\r\n\r\n",
        b"0\r\n",
        b"\r\n",
        b"3\nabc\r\n",
        b"3\r\nabc\n",
        b"3 \r\nabc\r\n",
        b" 3\r\nabc\r\n",
        b"-3\r\nabc\r\n",
        b"+3\r\nabc\r\n",
        b"0x3\r\nabc\r\n",
        b"3\r\nabcd\r\n",
        b"0\r\nX: a\r\n\r\n",
        b"3;\r\nabc\r\n",
        b'3;a="b"\r\nabc\r\n',
        b'3;a="b; \\"c\\"";d;e=!\r\nabc\r\n',
        b'3;a="b\r\nabc\r\n',
        b'3;a="b\n"\r\nabc\r\n',
        b"3; a\r\nabc\r\n",
        b"3;a=(\r\nabc\r\n",
    ]
)


class Body:
    """What llhttp finds."""

    def __init__(self) -> None:
        self.ends = 0

    def on_message_complete(self) -> None:
        self.ends += 1


def taken(framing: Framing, data: bytes, size: int) -> int:
    """How much of ``data`` belongs to the body, given in pieces of ``size``."""
    total = 0
    for begin in range(0, len(data), size):
        # What stands before is not to be looked at.
        total += framing.take(b"0\r\n\r\n" + data[begin : begin + size], 5)
    return total


@given(data=st.lists(PIECES, max_size=5).map(lambda pieces: b"".join([*pieces, BEHIND])), size=st.integers(1, 99))
@example(data=b"3\r\nabc\r\n0\r\n\r\n" + BEHIND, size=1)
def test_llhttp_finds_the_end_of_chunks_where_it_is_found_here(data: bytes, size: int) -> None:
    chunks = Chunks()
    try:
        end = taken(chunks, data, size)
    except BrokenBodyError:
        return
    body = Body()
    parser = HttpRequestParser(body)
    parser.feed_data(HEAD + data[: end - 1])
    assert body.ends == 0
    parser.feed_data(data[end - 1 : end])
    assert body.ends == chunks.has_ended


@pytest.mark.parametrize("size", [1, 2, 3, 99])
def test_what_is_behind_a_body_is_not_taken(size: int) -> None:
    bodies: list[tuple[Framing, bytes]] = [
        (Length(3), b"abc"),
        (Length(0), b""),
        (Chunks(), b"1;a=b\r\nx\r\nA\r\n0123456789\r\n0\r\n\r\n"),
        (Chunks(), b'1;a="b; \\"c\\"";d;e=!\r\nx\r\n0;a="\xff"\r\n\r\n'),
    ]
    for framing, body in bodies:
        assert framing.has_ended is (body == b"")
        assert taken(framing, body + BEHIND, size) == len(body)
        assert framing.has_ended


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n",
        b"\r\n",
        b"3\nabc\r\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\n",
        b"0\r\nX: a\r\n\r\n",
        b"3 \r\nabc\r\n",
        b"-3\r\n",
        b"0x3\r\n",
        b"1" * 16 + b"\r\n",
        b"3;" + b"a" * MAX_CHUNK_LINE_BYTES,
        b'3;a="b\r\n',
        b'3;a="b\n"\r\n',
        b"3;a=(\r\n",
        b"1\r\na\r\n" * (MAX_OVERHEAD_BYTES // 4 + 1),
    ],
)
def test_chunks_that_are_not_framed_as_they_should_be_are_refused(data: bytes) -> None:
    with pytest.raises(BrokenBodyError):
        Chunks().take(data, 0)


@pytest.mark.parametrize("size", [1, 5, 99])
def test_small_chunks_are_taken_as_long_as_their_framing_is_no_more_than_they_contain(size: int) -> None:
    chunks = Chunks()
    body = b"5\r\nabcde\r\n" * MAX_OVERHEAD_BYTES + b"0\r\n\r\n"
    assert taken(chunks, body + BEHIND, size) == len(body)
    assert chunks.has_ended


def test_what_llhttp_refuses_in_chunks_is_refused_here() -> None:
    for data in (b"3\r\nabcd\r\n", b"nonsense\r\n", b"3\nabc\r\n"):
        with pytest.raises(HttpParserError):
            HttpRequestParser(Body()).feed_data(HEAD + data)
        with pytest.raises(BrokenBodyError):
            Chunks().take(data, 0)
