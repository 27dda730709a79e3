"""The index of keys on disk: written in the same commit as the batches, and checked against them."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import replicated_log.storage.log
from replicated_log.__main__ import main
from replicated_log.storage import key_index
from replicated_log.storage.log import Log
from replicated_log.storage.log_reader import LogReader
from replicated_log.storage.schema import FORMAT
from replicated_log.wire.errors import CorruptLogError, DiskFullError
from tests.unit.builders import LOG_ID, make_batches, make_keyed_batch

FIRST = make_keyed_batch(("k1", ["a"]), (None, ["b"]), ("k2", ["c", "d"]))
SECOND = make_keyed_batch(("k3", ["e"]), previous=FIRST.end)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Of a closed log with three keys."""
    with closing(Log.open(tmp_path, "node1")) as log:
        log.append([FIRST, SECOND], adopt=LOG_ID)
    return tmp_path


def change(directory: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(directory / "log.sqlite")) as connection, connection:
        connection.execute(statement, values)


def rows(directory: Path) -> list[tuple[int, str, int]]:
    with closing(sqlite3.connect(directory / "log.sqlite")) as connection:
        return connection.execute("SELECT * FROM keys ORDER BY number").fetchall()


def as_before_there_were_keys(directory: Path) -> None:
    change(directory, "DROP TABLE keys")
    change(directory, "UPDATE meta SET value = 1 WHERE key = 'format'")


def test_a_reopened_log_knows_its_keys_and_numbers_on(directory: Path) -> None:
    with closing(Log.open(directory, "node1")) as log:
        log.append([make_keyed_batch(("k4", ["f"]), previous=log.end)])
    assert rows(directory) == [(1, "k1", 0), (2, "k2", 2), (3, "k3", 4), (4, "k4", 5)]


def test_what_is_appended_is_in_the_index_when_append_returns(tmp_path: Path) -> None:
    with closing(Log.open(tmp_path / "living", "node1")) as log:
        log.adopt(LOG_ID)
        for batch in (FIRST, SECOND):
            log.append([batch])
            copy = tmp_path / f"as left by kill -9 at {batch.end.offset}"
            shutil.copytree(log.directory, copy)
            with closing(Log.open(copy, "node1")), closing(LogReader.open(copy)) as reader:
                assert all(reader.find_key(keyed.key) == keyed for keyed in batch.keyed_appends)


def test_a_full_disk_stores_neither_batch_nor_key(tmp_path: Path) -> None:
    large = make_keyed_batch(("k4", ["x" * 1_000_000]), previous=SECOND.end)
    with closing(Log.open(tmp_path, "node1")) as log, closing(LogReader.open(tmp_path)) as reader:
        log.append([FIRST, SECOND], adopt=LOG_ID)
        log._connection.execute("PRAGMA max_page_count = 100")
        with pytest.raises(DiskFullError):
            log.append([large])
        assert reader.find_key("k4") is None
        log._connection.execute("PRAGMA max_page_count = 10000")
        log.append([large])
        assert reader.find_key("k4") == large.keyed_appends[0]
        reader.verified()
    assert rows(tmp_path)[-1] == (4, "k4", SECOND.end.offset)


def test_a_log_from_before_there_were_keys_is_opened_and_gets_their_index(tmp_path: Path) -> None:
    old = make_batches("a", "b")
    with closing(Log.open(tmp_path, "node1")) as log:
        log.append(old, adopt=LOG_ID)
    as_before_there_were_keys(tmp_path)
    assert main(["check", str(tmp_path)]) == 0
    for _ in range(2):
        Log.open(tmp_path, "node1").close()
    with closing(Log.open(tmp_path, "node1")) as log, closing(LogReader.open(tmp_path)) as reader:
        assert reader.meta("format") == FORMAT == 2
        log.append([make_keyed_batch(("k", ["c"]), previous=log.end)])
        assert reader.verified() == log.end
    assert rows(tmp_path) == [(1, "k", 2)]


def test_keys_fill_the_journal_too_so_it_is_worked_off_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicated_log.storage.log, "_JOURNAL_BYTES", 1 << 16)
    with closing(Log.open(tmp_path, "node1")) as log:
        log.adopt(LOG_ID)
        for number in range(100):
            log.append([make_keyed_batch((f"k{number}", ["x"]), previous=log.end)])
        assert (tmp_path / "log.sqlite-wal").stat().st_size < 1 << 19


def remove_a_row(directory: Path) -> None:
    change(directory, "DELETE FROM keys WHERE key = 'k2'")


def remove_the_last_row(directory: Path) -> None:
    change(directory, "DELETE FROM keys WHERE key = 'k3'")


def add_a_row(directory: Path) -> None:
    change(directory, "INSERT INTO keys VALUES (4, 'k4', 5)")


def add_a_row_in_front(directory: Path) -> None:
    change(directory, "INSERT INTO keys VALUES (0, 'k0', 0)")


def move_a_row(directory: Path) -> None:
    change(directory, "UPDATE keys SET first_offset = 3 WHERE key = 'k2'")


def rename_a_row(directory: Path) -> None:
    change(directory, "UPDATE keys SET key = 'K2' WHERE key = 'k2'")


def number_a_row_anew(directory: Path) -> None:
    change(directory, "UPDATE keys SET number = 9 WHERE key = 'k2'")


@pytest.mark.parametrize(
    "damage",
    [
        remove_a_row,
        remove_the_last_row,
        add_a_row,
        add_a_row_in_front,
        move_a_row,
        rename_a_row,
        number_a_row_anew,
    ],
)
def test_a_wrong_row_is_found_by_a_check(
    directory: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(directory)]) == 0
    damage(directory)
    assert main(["check", str(directory)]) == 1
    assert "the index has" in capsys.readouterr().err


def test_a_check_knows_that_old_keys_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_index, "REMEMBERED", 2)
    with closing(Log.open(tmp_path, "node1")) as log:
        log.adopt(LOG_ID)
        for key in "abcacb":
            log.append([make_keyed_batch((key, ["text"]), previous=log.end)])
    assert rows(tmp_path) == [(5, "c", 4), (6, "b", 5)]
    assert main(["check", str(tmp_path)]) == 0
    change(tmp_path, "DELETE FROM keys WHERE key = 'c'")
    assert main(["check", str(tmp_path)]) == 1


def test_a_row_that_leads_elsewhere_is_never_taken_for_an_answer(directory: Path) -> None:
    for offset in (1, 3, 4, 5, 1_000):
        change(directory, "UPDATE keys SET first_offset = ? WHERE key = 'k2'", offset)
        with closing(LogReader.open(directory)) as reader, pytest.raises(CorruptLogError, match="k2"):
            reader.find_key("k2")


def test_many_are_looked_up_at_once_and_what_can_not_be_read_is_said_in_its_place(directory: Path) -> None:
    with closing(Log.open(directory, "node1")) as log, closing(LogReader.open(directory)) as reader:
        k1, k2, k3 = *FIRST.keyed_appends, *SECOND.keyed_appends
        asked: list[str] = []
        reader._connection.set_trace_callback(asked.append)
        assert reader.find_keys(["k3", "k2", "none", "k1", "k2"]) == [k3, k2, None, k1, k2]
        assert sum("FROM batches WHERE first_offset >=" in statement for statement in asked) == 2
        change(directory, "UPDATE keys SET first_offset = 1 WHERE key = 'k2'")
        found = reader.find_keys(["k3", "k2", "k1"])
        assert (found[0], found[2]) == (k3, k1)
        assert isinstance(found[1], CorruptLogError)
        assert log.end == SECOND.end


@pytest.mark.parametrize("tree", ["keys", "sqlite_autoindex_keys_1"])
def test_a_malformed_page_of_the_index_is_refused_at_open_and_by_a_check(
    directory: Path, tree: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = directory / "log.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (tree,)).fetchone()
    data = file.read_bytes()
    file.write_bytes(data[: 4096 * (page - 1)] + b"\xff" * 4096 + data[4096 * page :])
    with pytest.raises(CorruptLogError, match=r"the index of keys: .*malformed"):
        Log.open(directory, "node1")
    with closing(LogReader.open(directory)) as reader:
        (found,) = reader.find_keys(["k1"])
        assert isinstance(found, CorruptLogError)
    assert main(["check", str(directory)]) == 1
    assert "the index of keys" in capsys.readouterr().err


def test_a_check_of_a_log_that_grows_sees_one_moment_of_it(directory: Path) -> None:
    with closing(Log.open(directory, "node1")) as log, closing(LogReader.open(directory)) as reader:
        grown: list[str] = []

        def grow(statement: str) -> None:
            if statement.startswith("SELECT number, first_offset") and not grown:
                grown.append(statement)
                log.append([make_keyed_batch(("k4", ["f"]), previous=log.end)])

        reader._connection.set_trace_callback(grow)
        assert reader.verified() == SECOND.end
        assert grown
        assert reader.verified() == log.end
