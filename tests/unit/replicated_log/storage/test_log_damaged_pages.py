"""Pages of SQLite's file that are not as they were written are found, and nothing of them is served."""

import os
import shutil
from contextlib import closing
from itertools import product
from pathlib import Path
from random import Random

import pytest

import replicated_log.storage.log
from replicated_log.storage.log import Log
from replicated_log.storage.log_reader import LogReader
from replicated_log.wire.batch import MAX_BATCH_BYTES, Batch
from replicated_log.wire.errors import CorruptLogError, WrongLogError
from tests.unit.builders import LOG_ID, make_batches

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
