"""SQLite's journal is worked off beside commits, and the log is none the worse for it."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import cycle
from pathlib import Path
from threading import Event, Lock, Thread

import pytest

from replicated_log.storage import checkpoint
from replicated_log.storage.checkpoint import Checkpointer
from replicated_log.storage.log import Log
from replicated_log.storage.log_reader import LogReader, database
from replicated_log.storage.wal_check import journal
from replicated_log.wire.batch import MAX_BATCH_BYTES
from tests.unit.builders import LOG_ID, make_batches


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with closing(Log.open(tmp_path / "data", "node1", alone=Lock())) as log:
        log.adopt(LOG_ID)
        yield log


@pytest.fixture
def checkpointer(log: Log) -> Iterator[Checkpointer]:
    with closing(log.checkpointer()) as checkpointer:
        yield checkpointer


def append(log: Log, size: int = 100_000) -> None:
    log.append(make_batches("x" * size, previous=log.end))


def records_in_database(log: Log) -> int:
    """As many as are there without the journal."""
    copy = log.directory.with_name("without the journal")
    copy.mkdir(exist_ok=True)
    shutil.copy(database(log.directory), copy)
    with closing(LogReader.open(copy)) as reader:
        return reader.verified().offset


def test_what_was_committed_is_copied_and_synced(
    log: Log, checkpointer: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fdatasync", lambda file: synced.append((os.fstat(file).st_ino, records_in_database(log))))
    append(log)
    append(log)
    checkpointer.copy()
    assert synced == [(database(log.directory).stat().st_ino, 2)]


def test_the_journal_goes_on_until_the_rest_is_copied_between_two_commits(log: Log, checkpointer: Checkpointer) -> None:
    append(log, 1_000_000)
    with reading(log):
        # The copy goes as far as the reader, so that something remains, as it does when commits come meanwhile.
        append(log, 1_000_000)
        checkpointer.copy()
    append(log, 1_000_000)
    long = journal(log.directory).stat().st_size
    assert long > 3_000_000
    log.checkpoint()
    assert records_in_database(log) == 3
    append(log, 1_000_000)
    assert journal(log.directory).stat().st_size == long
    with closing(LogReader.open(log.directory)) as reader:
        assert reader.verified() == log.end


@contextmanager
def reading(log: Log) -> Iterator[None]:
    with closing(LogReader.open(log.directory)) as reader, reader._snapshot():
        assert reader.read(0, MAX_BATCH_BYTES)
        yield


def test_commits_and_copies_go_on_side_by_side(log: Log, checkpointer: Checkpointer) -> None:
    def append_all() -> None:
        for size in (10, 10_000, 200_000) * 200:
            append(log, size)

    committing = Thread(target=append_all)
    committing.start()
    while committing.is_alive():
        checkpointer.copy()
        assert journal(log.directory).stat().st_size < 20 << 20
    committing.join()
    assert log.end.offset == 600
    with closing(LogReader.open(log.directory)) as reader:
        assert reader.verified() == log.end


def test_readers_who_never_pause_are_outwaited_before_the_journal_is_too_long(log: Log) -> None:
    append(log)
    lengths = []
    with reading_without_a_pause(log):
        for _ in range(100):
            append(log, 1_000_000)
            lengths.append(journal(log.directory).stat().st_size)
    assert 30 << 20 < max(lengths) < 64 << 20
    assert log._connection.execute("PRAGMA busy_timeout").fetchone() == (5000,)
    log.checkpoint()
    append(log)
    assert journal(log.directory).stat().st_size <= 16 << 20


def test_no_commit_begins_the_journal_anew_beside_a_copy(
    log: Log, checkpointer: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's WAL-reset bug is that it may, while a copy that began just after another one takes it for copied."""

    real = checkpoint.checkpoint

    def copy_and_commit(connection: sqlite3.Connection) -> None:
        real(connection)
        append(log)

    append(log)
    header = journal(log.directory).read_bytes()[:32]
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "checkpoint", copy_and_commit)
        checkpointer.copy()
    assert journal(log.directory).read_bytes()[:32] == header
    log.checkpoint()
    append(log)
    assert journal(log.directory).read_bytes()[:32] != header


def test_a_reader_who_reads_on_is_not_outwaited_and_sees_what_it_saw(log: Log) -> None:
    append(log)
    with closing(LogReader.open(log.directory)) as reader, reader._snapshot():
        seen = reader.verified_end(1)
        statements: list[str] = []
        log._connection.set_trace_callback(statements.append)
        for _ in range(50):
            append(log, 1_000_000)
        assert reader.verified_end(1) == seen
    # So many milliseconds each time, and then SQLite's own again, whose waits are no reader's.
    waits = [int(one.split("=")[1]) for one in statements if one.startswith("PRAGMA busy_timeout =")]
    assert set(waits) == {20, 5000}
    assert journal(log.directory).stat().st_size > 50_000_000
    with closing(LogReader.open(log.directory)) as reader:
        assert reader.verified() == log.end


@contextmanager
def reading_without_a_pause(log: Log) -> Iterator[None]:
    """One reads on until the other has begun."""
    ended = Event()

    def read() -> None:
        with closing(LogReader.open(log.directory)) as one, closing(LogReader.open(log.directory)) as other:
            one._connection.execute("BEGIN")
            one.read(0, 1)
            for before, after in cycle([(one, other), (other, one)]):
                after._connection.execute("BEGIN")
                after.read(max(0, log.end.offset - 3), 1 << 20)
                before._connection.execute("ROLLBACK")
                if ended.is_set():
                    return

    thread = Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_journal_is_long_until_it_is_worked_off(log: Log, checkpointer: Checkpointer) -> None:
    while not log.journal_is_long:
        append(log, 1_000_000)
    assert 8 <= log.end.offset <= 10
    checkpointer.copy()
    assert log.journal_is_long
    log.checkpoint()
    assert not log.journal_is_long


def test_an_append_waits_for_a_copy_rather_than_let_the_journal_grow(tmp_path: Path) -> None:
    """SQLite would not: it does one checkpoint at a time, and a second one nothing."""
    copying: list[str] = []

    class Alone:
        def __enter__(self) -> None:
            copying.append("enters")

        def __exit__(self, *_: object) -> None:
            copying.append(f"leaves, {records_in_database(opened)} in the database")

    with closing(Log.open(tmp_path / "data", "node1", alone=Alone())) as opened:
        opened.adopt(LOG_ID)
        while not copying:
            append(opened, 1_000_000)
            assert opened.end.offset < 30
        assert 16 <= opened.end.offset <= 18
        assert copying == ["enters", f"leaves, {opened.end.offset} in the database"]
        copying.clear()
        append(opened)
        with closing(opened.checkpointer()) as checkpointer:
            checkpointer.copy()
        assert copying == ["enters", f"leaves, {opened.end.offset} in the database"]


def test_a_copy_that_can_not_be_synced_says_where(
    log: Log, checkpointer: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    append(log)
    with pytest.raises(OSError, match="Input/output error") as raised:
        checkpointer.copy()
    assert raised.value.filename == str(database(log.directory))


def test_another_process_that_comes_and_goes_leaves_the_journal_where_it_is(log: Log) -> None:
    """Who closes a database last removes its journal. SQLite knows by the locks, which one file less would release."""
    append(log)
    log.checkpointer().close()
    look = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT count(*) FROM batches'); c.close()"
    subprocess.run([sys.executable, "-c", look, database(log.directory)], check=True)
    append(log)
    assert journal(log.directory).exists()
    with closing(LogReader.open(log.directory)) as reader:
        assert len(reader.read(0, MAX_BATCH_BYTES)) == 2
