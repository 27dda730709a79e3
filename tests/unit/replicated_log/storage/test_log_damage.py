"""Stored bytes that are not what was written are found, and never served."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import product
from pathlib import Path
from random import Random

import pytest

import replicated_log.storage.log
from replicated_log.storage.log import Log
from replicated_log.storage.log_reader import LogReader
from replicated_log.wire.batch import MAX_BATCH_BYTES, Batch, Position
from replicated_log.wire.errors import CorruptLogError, WrongLogError
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


PAGE = 4096
LONG_BATCHES = make_batches(*[f"message {n} ".ljust(700, "x") for n in range(40)])
"""They fill several pages."""


@pytest.fixture
def long_log(tmp_path: Path) -> Path:
    """The directory of a closed log that holds LONG_BATCHES."""
    directory = tmp_path / "long"
    with closing(Log.open(directory, "node1")) as log:
        log.adopt(LOG_ID)
        log.append(LONG_BATCHES)
    return directory


def page_of(text: str, data: bytes) -> int:
    """Where the page begins that has the text."""
    return data.index(text.encode()) // PAGE * PAGE


def destroy(directory: Path, page: int) -> None:
    """Leave nothing of a page that SQLite could make sense of."""
    file = directory / "log.sqlite"
    data = file.read_bytes()
    file.write_bytes(data[:page] + b"\xff" * PAGE + data[page + PAGE :])


@pytest.mark.parametrize("number", [8, 20, 39])
def test_a_page_that_sqlite_finds_malformed_is_refused_with_the_end_of_what_is_sound(
    long_log: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = (long_log / "log.sqlite").read_bytes()
    page = page_of(f"message {number} ", data)
    first = min(n for n in range(40) if page_of(f"message {n} ", data) == page)
    destroy(long_log, page)
    with pytest.raises(CorruptLogError, match="malformed") as refused:
        Log.open(long_log, "node1")
    # Python's sqlite3 looks one row ahead, and gives no row when that fails.
    assert refused.value.offset == first - 1
    with closing(LogReader.open(long_log)) as reader:
        assert reader.read(0, 1) == LONG_BATCHES[:1]
        with pytest.raises(CorruptLogError, match=f"at offset {first - 1}: "):
            reader.read(first - 2, MAX_BATCH_BYTES)
        with pytest.raises(CorruptLogError, match=f"at offset {first}: "):
            reader.read(first, MAX_BATCH_BYTES)

    # Where the tail that is checked begins can't be found, either.
    monkeypatch.setattr(replicated_log.storage.log, "_CHECKED_AT_OPEN", 35)
    with pytest.raises(CorruptLogError, match=f"at offset {first - 1}: "):
        Log.open(long_log, "node1")


@pytest.mark.parametrize("page", [0, PAGE, 2 * PAGE, 3 * PAGE, 4 * PAGE])
def test_a_malformed_page_without_which_nothing_can_be_read_is_refused_at_the_first_offset(
    long_log: Path, page: int
) -> None:
    """The schema, the identity, its index, and where the trees of batches and of keys begin."""
    destroy(long_log, page)
    with pytest.raises(CorruptLogError) as refused:
        Log.open(long_log, "node1")
    assert refused.value.offset == 0


def test_a_schema_that_a_flipped_bit_has_emptied_is_refused_and_not_begun_anew(long_log: Path) -> None:
    file = long_log / "log.sqlite"
    data = bytearray(file.read_bytes())
    at = 103  # The cells on the first page: three tables, and two indexes.
    assert data[at : at + 2] == b"\0\5"
    data[at + 1] = 0
    file.write_bytes(data)
    with pytest.raises(CorruptLogError, match="schema"):
        Log.open(long_log, "node1")
    assert file.read_bytes() == data


def test_a_file_that_sqlite_takes_for_one_of_a_later_version_is_refused(long_log: Path) -> None:
    file = long_log / "log.sqlite"
    data = file.read_bytes()
    schema_format = 47
    file.write_bytes(data[:schema_format] + b"\x09" + data[schema_format + 1 :])
    with pytest.raises(CorruptLogError, match="at offset 0: unsupported file format"):
        Log.open(long_log, "node1")


def test_a_tree_that_begins_elsewhere_does_not_cut_the_log(long_log: Path) -> None:
    """On the page of the first batches, say: they would be taken for all that there are."""
    file = long_log / "log.sqlite"
    data = file.read_bytes()
    assert page_of("message 0 ", data) // PAGE + 1 == 7
    batches_row = b"batchesbatches\4CREATE"
    assert data.count(batches_row) == 1
    file.write_bytes(data.replace(batches_row, b"batchesbatches\7CREATE"))
    with pytest.raises(CorruptLogError, match="schema"):
        Log.open(long_log, "node1")


def test_a_branch_that_leads_back_does_not_cut_the_log(long_log: Path) -> None:
    """The last page of batches is that of the first ones, by the pointer to it."""
    file = long_log / "log.sqlite"
    data = bytearray(file.read_bytes())
    rightmost = 3 * PAGE + 8
    assert int.from_bytes(data[rightmost : rightmost + 4], "big") == page_of("message 39 ", bytes(data)) // PAGE + 1
    data[rightmost : rightmost + 4] = (page_of("message 0 ", bytes(data)) // PAGE + 1).to_bytes(4, "big")
    file.write_bytes(data)
    with pytest.raises(CorruptLogError, match="come again"):
        Log.open(long_log, "node1")


def test_a_flipped_bit_anywhere_is_refused_or_harmless(long_log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    data = (long_log / "log.sqlite").read_bytes()
    random = Random(1)
    in_headers = [page + n for page in range(0, len(data), PAGE) for n in (*range(40), *range(PAGE - 300, PAGE))]
    flips = [(at, random.randrange(8)) for at in random.sample(in_headers, 500) + random.sample(range(len(data)), 500)]
    last_page = page_of("message 39 ", data)
    assert 100 < sum(is_harmless(long_log, data, LONG_BATCHES, last_page, flip) for flip in flips) < 900


def test_a_flipped_bit_in_the_way_to_the_batches_is_refused_or_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    batches = make_batches(*["short"] * 20)
    with closing(Log.open(tmp_path / "short", "node1")) as log:
        log.append(batches, adopt=LOG_ID)
    data = (tmp_path / "short" / "log.sqlite").read_bytes()
    only_page = page_of("short", data)
    for flip in product(range(only_page, only_page + 8 + 2 * len(batches)), range(8)):
        is_harmless(tmp_path / "short", data, batches, only_page, flip)


def is_harmless(directory: Path, data: bytes, batches: list[Batch], last_page: int, flip: tuple[int, int]) -> bool:
    """False when the log is refused. Never does it hold anything else than ``batches``."""
    at, bit = flip
    damaged = bytearray(data)
    damaged[at] ^= 1 << bit
    shutil.rmtree(directory)
    directory.mkdir()
    (directory / "log.sqlite").write_bytes(damaged)
    try:
        with closing(Log.open(directory, "node1")) as log, closing(LogReader.open(directory)) as reader:
            # How many batches the last page has is known from nowhere else; `check` sees that it does not fit.
            assert log.end == batches[-1].end or at == last_page + 4
            assert reader.read(0, MAX_BATCH_BYTES) == batches[: log.end.offset]
            return True
    except (CorruptLogError, WrongLogError):
        return False
