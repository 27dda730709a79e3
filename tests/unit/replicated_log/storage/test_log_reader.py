"""Reading a log beside its writer, and without one."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from replicated_log.storage.log import Log
from replicated_log.storage.log_reader import LogReader
from replicated_log.wire.batch import MAX_BATCH_BYTES, START
from tests.unit.builders import make_batches, new_log

BATCHES = make_batches("a", ["b", "c"], "d")


def test_there_is_nothing_to_read_where_no_log_was_created(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.Error):
        LogReader.open(tmp_path)


def test_a_reader_sees_whole_commits_only_and_never_waits_for_them(log: Log, reader: LogReader) -> None:
    seen_during_the_commit = []
    log._connection.set_trace_callback(
        lambda statement: seen_during_the_commit.append((statement.split()[0], reader.read(0, MAX_BATCH_BYTES)))
    )
    log.append(BATCHES)

    assert seen_during_the_commit == [("BEGIN", []), *[("INSERT", [])] * 4, ("COMMIT", [])]
    assert reader.read(0, MAX_BATCH_BYTES) == BATCHES


def test_no_more_is_read_than_up_to_where_the_reader_stops(log: Log, reader: LogReader) -> None:
    log.append(BATCHES)
    for start in range(log.end.offset):
        for stop in range(start + 1, log.end.offset + 2):
            expected = [batch for batch in BATCHES if batch.end.offset > start and batch.first_offset < stop]
            assert reader.read(start, MAX_BATCH_BYTES, stop) == expected


def test_the_log_can_be_read_when_nobody_writes(tmp_path: Path) -> None:
    new_log(tmp_path, *BATCHES).close()
    with closing(LogReader.open(tmp_path)) as reader:
        assert reader.read(0, MAX_BATCH_BYTES) == BATCHES
        assert reader.chain_at(START.offset) == START.chain
