"""Heads that are known but for their idempotency key, beside what is read in them without remembering anything."""

from hypothesis import example, given
from hypothesis import strategies as st

from infra.http.head import Head, HeadReader
from infra.http.keyed_heads import KeyedHeads
from infra.http.limits import Limits
from infra.http.problems import HttpProblem

LINE = b"POST / HTTP/1.1\r\nHost: node\r\n"
KEY = b"Idempotency-Key: "
BEHIND = b"Content-Length: 3\r\n\r\n"


def head(key: bytes) -> bytes:
    return LINE + KEY + key + b"\r\n" + BEHIND


def read(data: bytes) -> Head:
    found = HeadReader(Limits()).read(data)
    assert found is not None
    return found


def learned(data: bytes) -> KeyedHeads:
    heads = KeyedHeads()
    heads.learn(data, read(data), read(data).headers)
    return heads


def test_a_head_is_known_with_another_key() -> None:
    found = learned(head(b"first")).find(head(b"second") + b"abc")
    assert found is not None
    known, headers, size = found
    assert (known.method, known.target, known.body_bytes, size) == ("POST", "/", 3, len(head(b"second")))
    assert headers == read(head(b"second")).headers


KEYS = st.binary(max_size=3) | st.sampled_from(
    [
        b"second",
        b"",
        b" a",
        b"a ",
        b"a\r\nContent-Length: 4",
        b"a\r\n" + KEY + b"b",
        b"a\r\n" + BEHIND + LINE + KEY + b"b",
        b"a\nX: b",
        b"\0",
        b"\xff",
    ]
)


@given(key=KEYS, other=st.sampled_from([b"", b"X: a\r\n", b"Content-Length: 4\r\n", b"\r\n"]))
@example(key=b"a\r\nContent-Length: 4", other=b"")
@example(key=b"a\r\n" + BEHIND + LINE + KEY + b"b", other=b"")
def test_what_is_known_is_what_would_be_read(key: bytes, other: bytes) -> None:
    data = LINE + other + KEY + key + b"\r\n" + BEHIND
    found = learned(head(b"first")).find(data)
    try:
        as_read = HeadReader(Limits()).read(data)
    except HttpProblem:
        as_read = None
    if found is None:
        return
    known, headers, size = found
    assert as_read is not None
    assert (known.method, known.target, known.body_bytes, size) == ("POST", "/", as_read.body_bytes, as_read.size)
    assert headers == as_read.headers


def test_a_head_with_two_keys_or_none_of_that_name_is_not_remembered() -> None:
    two = LINE + KEY + b"a\r\n" + KEY + b"b\r\n" + BEHIND
    assert learned(two).find(two) is None
    lower = LINE + b"idempotency-key: a\r\n" + BEHIND
    assert learned(lower).find(lower) is None
    none = LINE + BEHIND
    heads = KeyedHeads()
    heads.learn(none, read(none), read(none).headers)
    assert heads.find(none) is None


def test_a_name_in_the_body_is_none_in_the_head() -> None:
    assert learned(head(b"first")).find(LINE + BEHIND + head(b"second")) is None
