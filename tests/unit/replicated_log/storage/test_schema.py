"""SQLite's file that a log is in: what it must be like, and where it may be."""

import gc
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from replicated_log.storage import schema
from replicated_log.storage.log import Log
from replicated_log.storage.schema import FORMAT
from replicated_log.wire.errors import CorruptLogError, WrongLogError
from tests.unit.builders import make_batches, new_log

BATCHES = make_batches("a", ["b", "c"], "d")


def test_the_way_to_the_log_is_synced_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino))
    directory = tmp_path / "some" / "where"
    for _ in range(2):
        synced.clear()
        Log.open(directory, "node1").close()
        assert synced == [path.stat().st_ino for path in (directory, *directory.parents)]


def test_a_place_where_sqlite_can_not_write_durably_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "database", lambda _: Path(":memory:"))
    with pytest.raises(WrongLogError, match="durably"):
        Log.open(tmp_path, "node1")


def test_the_log_of_another_node_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    new_log(tmp_path, *BATCHES).close()
    with pytest.raises(WrongLogError, match=r"'node1'.*'node2'"):
        Log.open(tmp_path, "node2")
    with closing(Log.open(tmp_path, "node1")) as log:
        assert log.end == BATCHES[-1].end


def test_a_format_of_the_future_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    new_log(tmp_path, *BATCHES).close()
    set_format(tmp_path, FORMAT + 1)
    with pytest.raises(WrongLogError, match=f"format {FORMAT + 1}"):
        Log.open(tmp_path, "node1")
    set_format(tmp_path, FORMAT)
    with closing(Log.open(tmp_path, "node1")) as log:
        assert log.end == BATCHES[-1].end


def test_a_file_that_is_no_database_is_refused_and_let_go(tmp_path: Path) -> None:
    (tmp_path / "log.sqlite").write_bytes(b"no database" * 1_000)
    for _ in range(2):
        with pytest.raises(CorruptLogError, match="at offset 0: file is not a database"):
            Log.open(tmp_path, "node1")
    # Since Python 3.13, a connection that nobody closed is an error here.
    gc.collect()


def test_the_index_of_the_journal_has_its_room_before_the_disk_is_full(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    (index,) = tmp_path.glob("*-shm")
    reserved = index.stat().st_blocks * 512
    # Each frame of the journal, a page of 4 KiB and a header, takes 8 bytes of it.
    assert reserved / 8 * (4 << 10) >= 64 << 20
    log.append(make_batches(*(["x" * 1_000_000] * 30)))
    assert index.stat().st_blocks * 512 == reserved
    log.close()


def set_format(directory: Path, version: int) -> None:
    with closing(sqlite3.connect(directory / "log.sqlite")) as connection, connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'format'", (version,))
