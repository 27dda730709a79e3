"""Stored bytes that are not what was written are found, and never served."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import replicated_log.storage.log
from replicated_log.storage.log import Log
from replicated_log.storage.log_reader import LogReader
from replicated_log.wire.batch import MAX_BATCH_BYTES, Batch, Position
from replicated_log.wire.errors import CorruptLogError
from tests.unit.builders import LOG_ID, OTHER_LOG_ID, make_batch, make_batches

TEXTS = ["the first text", ["the second text", "the third text"], "the fourth text", "the fifth text"]
BATCHES = make_batches(*TEXTS)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Of a closed log that holds BATCHES."""
    with closing(Log.open(tmp_path, "node1")) as log:
        log.adopt(LOG_ID)
        log.append(BATCHES)
    return tmp_path


def flip_a_bit_of(text: str, directory: Path) -> None:
    """In the file, behind SQLite's back."""
    file = directory / "log.sqlite"
    data = bytearray(file.read_bytes())
    (at,) = [at for at in range(len(data)) if data.startswith(text.encode(), at)]
    data[at] ^= 1
    file.write_bytes(data)


def change(directory: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(directory / "log.sqlite")) as connection, connection:
        assert connection.execute(statement, values).rowcount == 1


@pytest.mark.parametrize(
    ("text", "offset"), [("the first text", 0), ("the third text", 1), ("the fourth text", 3), ("the fifth text", 4)]
)
def test_a_flipped_bit_in_the_tail_is_refused_at_open_and_never_served(directory: Path, text: str, offset: int) -> None:
    flip_a_bit_of(text, directory)

    with pytest.raises(CorruptLogError, match=f"at offset {offset}:") as refused:
        Log.open(directory, "node1")
    assert refused.value.offset == offset
    with closing(LogReader.open(directory)) as reader:
        for from_offset in range(offset + 1):
            with pytest.raises(CorruptLogError, match=f"at offset {offset}:"):
                reader.read(from_offset, MAX_BATCH_BYTES)


def test_damage_before_the_tail_that_is_checked_at_open_is_found_when_it_is_read(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicated_log.storage.log, "_CHECKED_AT_OPEN", 2)
    flip_a_bit_of("the first text", directory)

    with closing(Log.open(directory, "node1")) as log, closing(LogReader.open(directory)) as reader:
        assert log.end == BATCHES[-1].end
        with pytest.raises(CorruptLogError, match="at offset 0:"):
            reader.read(0, MAX_BATCH_BYTES)
        assert reader.read(1, MAX_BATCH_BYTES) == BATCHES[1:]
        with pytest.raises(CorruptLogError, match="at offset 0:"):
            reader.verified()


def remove_a_row(directory: Path) -> None:
    change(directory, "DELETE FROM batches WHERE first_offset = 3")


def move_a_row(directory: Path) -> None:
    change(directory, "UPDATE batches SET first_offset = 5 WHERE first_offset = 3")


def change_a_count(directory: Path) -> None:
    change(directory, "UPDATE batches SET count = 2 WHERE first_offset = 3")


def change_a_chain(directory: Path) -> None:
    change(directory, "UPDATE batches SET chain = zeroblob(16) WHERE first_offset = 3")


def empty_a_row(directory: Path) -> None:
    change(directory, "UPDATE batches SET data = x'' WHERE first_offset = 3")


def put_another_text(directory: Path) -> None:
    store(directory, make_batch("another text", previous=BATCHES[1].end))


def remove_the_first_row(directory: Path) -> None:
    change(directory, "DELETE FROM batches WHERE first_offset = 0")


def put_another_past(directory: Path) -> None:
    store(directory, make_batch("the fourth text", previous=Position(3, b"\1" * 16)))


def put_two_in_a_row(directory: Path) -> None:
    change(directory, "UPDATE batches SET data = CAST(data || data AS BLOB) WHERE first_offset = 3")


def store(directory: Path, batch: Batch) -> None:
    """A sound batch, with its row, in the place of the one at offset 3."""
    change(directory, "UPDATE batches SET chain = ?, data = ? WHERE first_offset = 3", batch.chain, batch.data)


@pytest.mark.parametrize(
    ("damage", "found_at"),
    [
        (remove_the_first_row, 0),
        (remove_a_row, 3),
        (move_a_row, 3),
        (change_a_count, 3),
        (change_a_chain, 3),
        (empty_a_row, 3),
        (put_two_in_a_row, 3),
        (put_another_past, 3),
        (put_another_text, 4),
    ],
)
def test_a_log_that_is_not_one_chain_from_the_start_is_refused_at_open(
    directory: Path, damage: Callable[[Path], None], found_at: int
) -> None:
    damage(directory)
    with pytest.raises(CorruptLogError) as refused:
        Log.open(directory, "node1")
    assert refused.value.offset == found_at


def test_a_batch_in_the_place_of_another_is_not_served(directory: Path) -> None:
    change(directory, "UPDATE batches SET data = ? WHERE first_offset = 0", BATCHES[3].data)
    with closing(LogReader.open(directory)) as reader, pytest.raises(CorruptLogError):
        reader.read(0, 1)


def test_a_reader_does_not_jump_over_missing_records(directory: Path) -> None:
    remove_a_row(directory)
    with closing(LogReader.open(directory)) as reader:
        for from_offset in range(3):
            with pytest.raises(CorruptLogError, match="at offset 3: records are missing"):
                reader.read(from_offset, MAX_BATCH_BYTES)


def test_a_reader_does_not_take_missing_records_for_the_end(directory: Path) -> None:
    remove_a_row(directory)
    with closing(LogReader.open(directory)) as reader, pytest.raises(CorruptLogError, match="at offset 3: records are"):
        reader.read(3, MAX_BATCH_BYTES)


def test_a_reader_does_not_take_a_missing_first_batch_for_an_empty_log(directory: Path) -> None:
    remove_the_first_row(directory)
    with closing(LogReader.open(directory)) as reader, pytest.raises(CorruptLogError, match="at offset 0: records are"):
        reader.read(0, MAX_BATCH_BYTES)


@pytest.mark.parametrize("damage", [change_a_chain, change_a_count, empty_a_row, put_two_in_a_row])
def test_a_damaged_chain_is_not_told(directory: Path, damage: Callable[[Path], None]) -> None:
    damage(directory)
    with closing(LogReader.open(directory)) as reader, pytest.raises(CorruptLogError, match="at offset 3:"):
        reader.chain_at(4)


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE meta SET value = '{OTHER_LOG_ID}' WHERE key = 'log_id'",
        "UPDATE meta SET value = 5 WHERE key = 'log_id'",
        "DELETE FROM meta WHERE key = 'log_id'",
        "UPDATE meta SET value = 0 WHERE key = 'epoch'",
        "UPDATE meta SET value = 'one' WHERE key = 'epoch'",
        "DELETE FROM meta WHERE key = 'epoch'",
        "UPDATE meta SET value = NULL WHERE key = 'disk_id'",
        "DELETE FROM meta WHERE key = 'disk_id'",
        "DELETE FROM meta WHERE key = 'format'",
        "DELETE FROM meta WHERE key = 'node'",
    ],
)
def test_an_identity_that_is_not_that_of_the_batches_is_refused_at_open(directory: Path, statement: str) -> None:
    change(directory, statement)
    with pytest.raises(CorruptLogError, match="at offset 0:"):
        Log.open(directory, "node1")
