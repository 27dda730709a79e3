import struct
from datetime import UTC, datetime, timedelta
from zlib import crc32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import replicated_log.wire.batch
from replicated_log.wire.batch import (
    HEADER_BYTES,
    LENGTH_BYTES,
    MAX_BATCH_BYTES,
    MAX_BATCH_RECORDS,
    MAX_MESSAGE_BYTES,
    START,
    Batch,
    MalformedBatchError,
    Position,
    Records,
    decode_batches,
    encode_batch,
)
from tests.unit.builders import LOG_ID, OTHER_LOG_ID, make_batch, make_batches

MESSAGES = st.lists(st.text(), min_size=1, max_size=5)
LAST_TIME_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""
POSITIONS = st.builds(Position, st.integers(0, 2**40), st.binary(min_size=16, max_size=16))


def resealed(data: bytes) -> bytes:
    """The same bytes with the checksum made right, so that only what they say is wrong."""
    fields, payload = data[: HEADER_BYTES - 4], data[HEADER_BYTES:]
    return fields + struct.pack(">I", crc32(payload, crc32(fields))) + payload


@given(MESSAGES, POSITIONS, st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_what_is_encoded_is_decoded_again(messages: list[str], previous: Position, epoch: int, time_ms: int) -> None:
    batch = make_batch(*messages, previous=previous, epoch=epoch, time_ms=time_ms)

    assert decode_batches(batch.data) == [batch]
    assert batch.follows(previous)
    assert batch.messages() == messages


@given(MESSAGES, POSITIONS, st.integers(0, 12), st.integers(0, 12))
def test_any_part_of_a_batch_can_be_read(messages: list[str], previous: Position, start: int, stop: int) -> None:
    batch = make_batch(*messages, previous=previous, epoch=3, time_ms=7)
    # What there is begins up to 3 records after where the reader does.
    start, stop = previous.offset - 3 + start, previous.offset - 3 + stop

    records = batch.records(start, stop)

    expected = [(at, message) for at, message in enumerate(messages, previous.offset) if start <= at < stop]
    assert list(enumerate(records.messages, records.first_offset)) == expected
    assert (records.epoch, records.time_ms) == (3, 7)


@given(st.lists(MESSAGES, max_size=4))
def test_batches_that_stand_one_after_the_other_are_read_to_the_last_byte(contents: list[list[str]]) -> None:
    batches = make_batches(*contents)

    assert decode_batches(b"".join(batch.data for batch in batches)) == batches


def test_every_flipped_bit_is_found() -> None:
    (first, second) = make_batches(["message", "and another"], "the next")
    for bit in range(len(first.data) * 8):
        damaged = bytearray(first.data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(MalformedBatchError):
            decode_batches(bytes(damaged) + second.data)


def test_every_truncation_is_found() -> None:
    (first, second) = make_batches("message", "the next")
    whole = first.data + second.data
    for size in set(range(1, len(whole))) - {len(first.data)}:
        with pytest.raises(MalformedBatchError):
            decode_batches(whole[:size])


@pytest.mark.parametrize(
    ("at", "value"),
    [
        pytest.param(0, b"rl", id="another magic"),
        pytest.param(2, b"\2", id="a version of the future"),
        pytest.param(3, b"\2", id="an unknown flag"),
        pytest.param(3, b"\1", id="headers that are not there"),
        pytest.param(44, struct.pack(">I", 0), id="no records"),
        pytest.param(44, struct.pack(">I", 3), id="more records than the payload has room for"),
        pytest.param(44, struct.pack(">I", MAX_BATCH_RECORDS + 1), id="more records than allowed"),
        pytest.param(HEADER_BYTES, struct.pack(">I", 4), id="lengths that do not add up"),
        pytest.param(HEADER_BYTES, struct.pack(">I", 2**32 - 1), id="a length beyond all bounds"),
    ],
)
def test_a_batch_that_is_whole_but_says_what_it_must_not_is_refused(at: int, value: bytes) -> None:
    data = bytearray(make_batch("hello").data)
    data[at : at + len(value)] = value
    with pytest.raises(MalformedBatchError):
        decode_batches(resealed(bytes(data)))


def test_the_largest_batch_fits() -> None:
    messages = [b"x" * MAX_MESSAGE_BYTES] * 3
    room = MAX_BATCH_BYTES - HEADER_BYTES - 4 * LENGTH_BYTES - 3 * MAX_MESSAGE_BYTES
    largest = encode_batch([*messages, b"x" * room], log_id=LOG_ID, epoch=1, time_ms=0, previous=START)
    assert len(largest.data) == MAX_BATCH_BYTES
    assert decode_batches(largest.data) == [largest]


def test_a_batch_above_the_size_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = make_batch("hello")
    monkeypatch.setattr(replicated_log.wire.batch, "MAX_BATCH_BYTES", len(batch.data) - 1)
    with pytest.raises(MalformedBatchError):
        decode_batches(batch.data)


def test_the_largest_number_of_records_fits() -> None:
    batch = make_batch(*["m"] * MAX_BATCH_RECORDS)

    assert decode_batches(batch.data)[0].messages() == ["m"] * MAX_BATCH_RECORDS


FEW_TEXTS = st.lists(st.lists(st.sampled_from(["", "a", "ab"]), min_size=1, max_size=2), max_size=3)


@given(FEW_TEXTS, FEW_TEXTS)
@example([["ab"], ["a"]], [["a"], ["ba"]])
@example([["a", "ab"]], [["a"], ["ab"]])
@example([[""]], [["", ""]])
def test_two_logs_have_equal_chains_exactly_where_all_before_is_equal(
    one: list[list[str]], other: list[list[str]]
) -> None:
    def chains(contents: list[list[str]]) -> list[bytes]:
        return [START.chain, *(batch.chain for batch in make_batches(*contents))]

    for taken, chain in enumerate(chains(one)):
        for other_taken, other_chain in enumerate(chains(other)):
            assert (chain == other_chain) == (one[:taken] == other[:other_taken])


@pytest.mark.parametrize(
    "other",
    [
        make_batch("text", log_id=OTHER_LOG_ID),
        make_batch("text", epoch=2),
        make_batch("text", time_ms=1_001),
        make_batch("text", previous=Position(1, START.chain)),
        make_batch("text", previous=Position(0, b"\1" * 16)),
        make_batch("Text"),
    ],
    ids=["log", "epoch", "time", "offset", "past", "message"],
)
def test_everything_a_batch_says_is_in_its_chain(other: Batch) -> None:
    assert other.chain != make_batch("text").chain


def test_a_batch_follows_only_its_own_past() -> None:
    first, second, third = make_batches("a", "b", "c")
    assert second.follows(first.end)
    assert not third.follows(first.end)
    assert not second.follows(START)
    assert not second.follows(Position(1, third.chain))
    assert not make_batch("a", previous=Position(1, START.chain)).follows(START)


def test_a_batch_is_named_by_its_offsets() -> None:
    assert [batch.name for batch in make_batches("a", ["b", "c", "d"])] == ["0", "1-3"]


@given(st.integers(0, LAST_TIME_MS))
@example(8_600_000_000_001)
def test_times_are_shown_to_the_millisecond(time_ms: int) -> None:
    shown = Records(0, 1, time_ms, []).time
    exact = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
    assert datetime.fromisoformat(shown) == exact
    assert shown == exact.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time_ms % 1000:03}Z"
