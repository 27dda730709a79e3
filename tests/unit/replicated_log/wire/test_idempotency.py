"""Headers of batches: the idempotency keys of the appends in them."""

import struct
from zlib import crc32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from replicated_log.wire.batch import (
    HEADER_BYTES,
    MAX_APPEND_BYTES,
    MAX_BATCH_BYTES,
    MAX_BATCH_RECORDS,
    MAX_MESSAGE_BYTES,
    START,
    MalformedBatchError,
    append_size,
    decode_batches,
    encode_batch,
)
from replicated_log.wire.idempotency import MAX_KEY_LENGTH, KeyedAppend, digest, encode_headers, is_key
from tests.unit.builders import LOG_ID, make_batch, make_keyed_batch

KEYS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=MAX_KEY_LENGTH)
MESSAGES = st.lists(st.text(max_size=5), min_size=1, max_size=4)
APPENDS = st.lists(
    st.tuples(st.none() | KEYS, MESSAGES), min_size=1, max_size=5, unique_by=lambda append: append[0] or object()
)
DIGEST = digest([b"a"])


def with_headers(headers: bytes, flags: int = 1) -> bytes:
    """A batch of two records, with a right checksum and whatever headers."""
    plain = make_batch("a", "b").data
    payload = plain[HEADER_BYTES:] + headers
    fields = plain[:3] + bytes([flags]) + plain[4:48] + struct.pack(">I", len(payload)) + plain[52 : HEADER_BYTES - 4]
    return fields + struct.pack(">I", crc32(payload, crc32(fields))) + payload


def header(key: str = "k", first: int = 0, count: int = 1) -> bytes:
    return encode_headers([KeyedAppend(key, DIGEST, first, count, 1)], 0)


@given(APPENDS, st.integers(0, 2**40))
def test_keys_are_decoded_as_they_were_encoded(appends: list[tuple[str | None, list[str]]], epoch: int) -> None:
    batch = make_keyed_batch(*appends, previous=make_batch("before").end, epoch=epoch)
    assert decode_batches(batch.data) == [batch]
    at = 1
    expected = []
    for key, texts in appends:
        if key is not None:
            expected.append(KeyedAppend(key, digest([text.encode() for text in texts]), at, len(texts), epoch))
        at += len(texts)
    assert list(batch.keyed_appends) == expected
    assert batch.messages() == [text for _, texts in appends for text in texts]


def test_the_bytes_of_a_batch_without_keys_are_what_they_were_before_there_were_keys() -> None:
    assert make_keyed_batch((None, ["a"]), (None, ["b"])).data == make_batch("a", "b").data
    assert make_batch("a").data[3] == 0
    assert make_keyed_batch(("k", ["a"])).data[3] == 1


def test_keys_are_in_the_chain() -> None:
    one, other = make_keyed_batch(("k1", ["a"])), make_keyed_batch(("k2", ["a"]))
    assert len({one.chain, other.chain, make_batch("a").chain}) == 3
    assert one.follows(START)


def test_every_flipped_bit_of_a_header_is_found() -> None:
    data = make_keyed_batch(("key", ["a", "b"])).data
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(MalformedBatchError):
            decode_batches(bytes(damaged))


def test_sound_headers_are_read() -> None:
    headers = header("k1") + header("k2", first=1)
    (batch,) = decode_batches(with_headers(headers))
    assert batch.keyed_appends == (KeyedAppend("k1", DIGEST, 0, 1, 1), KeyedAppend("k2", DIGEST, 1, 1, 1))
    assert batch.messages() == ["a", "b"]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(b"", id="none at all"),
        pytest.param(header()[:20], id="one that is cut off in its fields"),
        pytest.param(header("key")[:-1], id="one that is cut off in its key"),
        pytest.param(header() + b"\0", id="a byte too many"),
        pytest.param(header("")[:24] + b"\0", id="an empty key"),
        pytest.param(header().replace(b"k", b"\x1f"), id="a control character"),
        pytest.param(header().replace(b"k", b"\x7f"), id="a delete character"),
        pytest.param(header().replace(b"k", b"\xe4"), id="a byte that is not ASCII"),
        pytest.param(header(count=0), id="no records"),
        pytest.param(header(count=3), id="more records than the batch has"),
        pytest.param(header(first=2), id="a record behind the batch"),
        pytest.param(header(first=2**32 - 1, count=2**32 - 1), id="numbers beyond all bounds"),
        pytest.param(header("k1", count=2) + header("k2", first=1), id="two that overlap"),
        pytest.param(header("k1", first=1) + header("k2"), id="two in the wrong order"),
        pytest.param(header("k") + header("k", first=1), id="one key twice"),
    ],
)
def test_headers_that_say_what_they_must_not_are_refused(headers: bytes) -> None:
    with pytest.raises(MalformedBatchError):
        decode_batches(with_headers(headers))


def test_a_batch_without_the_flag_has_no_headers() -> None:
    with pytest.raises(MalformedBatchError, match="add up"):
        decode_batches(with_headers(header(), flags=0))


def test_a_flag_of_the_future_is_refused_beside_headers() -> None:
    decode_batches(with_headers(header()))
    with pytest.raises(MalformedBatchError, match="not a batch of version 1"):
        decode_batches(with_headers(header(), flags=3))


@given(st.lists(st.binary(max_size=3), max_size=4), st.lists(st.binary(max_size=3), max_size=4))
@example([b"ab", b"c"], [b"a", b"bc"])
@example([b"a", b""], [b"a"])
@example([b""], [])
@example([b"\0\0\0\0"], [b"", b""])
def test_a_digest_names_the_messages_and_where_each_ends(one: list[bytes], other: list[bytes]) -> None:
    assert (digest(one) == digest(other)) == (one == other)


@pytest.mark.parametrize("key", ["a", " ", "~", "x" * MAX_KEY_LENGTH, 'a "quoted" key', "6b1c-4f"])
def test_what_can_be_a_key(key: str) -> None:
    assert is_key(key)


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY_LENGTH + 1), "a\n", "\n", "tab\t", "\0", "ä", "\x7f", "🔑"])
def test_what_can_not_be_a_key(key: str) -> None:
    assert not is_key(key)


def test_the_largest_append_with_the_longest_key_is_one_batch() -> None:
    key = "k" * MAX_KEY_LENGTH
    messages = [b"x"] * (MAX_BATCH_RECORDS - 1)
    messages.append(b"x" * (MAX_APPEND_BYTES - append_size([*messages, b""], key)))
    assert append_size(messages, key) == MAX_APPEND_BYTES
    keyed = KeyedAppend(key, digest(messages), 0, len(messages), 1)
    batch = encode_batch(messages, log_id=LOG_ID, epoch=1, time_ms=0, previous=START, keyed_appends=[keyed])
    assert len(batch.data) == MAX_BATCH_BYTES
    assert decode_batches(batch.data) == [batch]


def test_three_of_the_largest_messages_fit_into_a_batch_with_their_keys() -> None:
    assert 3 * append_size([b"x" * MAX_MESSAGE_BYTES], "k" * MAX_KEY_LENGTH) < MAX_APPEND_BYTES
