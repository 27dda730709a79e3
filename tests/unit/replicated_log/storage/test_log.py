import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from replicated_log.storage.log import Log
from replicated_log.storage.log_reader import Identity, LogReader
from replicated_log.storage.wal_check import journal
from replicated_log.wire.batch import MAX_BATCH_BYTES, START
from replicated_log.wire.errors import DiskFullError, LogInUseError
from tests.unit.builders import LOG_ID, OTHER_LOG_ID, make_batches, make_keyed_batch, new_log
from tests.unit.log_contract import LogContract

BATCHES = make_batches("a", ["b", "c"], "d")


class TestLogOnDisk(LogContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[Log]:
        with closing(Log.open(tmp_path / "data", "node1")) as log:
            yield log

    @pytest.fixture
    def reader(self, log: Log) -> Iterator[LogReader]:
        with closing(LogReader.open(log.directory)) as reader:
            yield reader


def test_a_reopened_log_is_as_it_was(tmp_path: Path) -> None:
    with closing(new_log(tmp_path, *BATCHES[:2])) as log:
        log.begin_reign()
        before = (log.end, log.log_id, log.disk_id, log.epoch)

    with closing(Log.open(tmp_path, "node1")) as log, closing(LogReader.open(tmp_path)) as reader:
        assert (log.end, log.log_id, log.disk_id, log.epoch) == before
        log.append(BATCHES[2:])
        assert log.begin_reign() == log.epoch == 3
        assert reader.read(0, MAX_BATCH_BYTES) == BATCHES


def test_what_is_appended_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    with closing(new_log(tmp_path / "living")) as log:
        for appended, batch in enumerate(BATCHES, 1):
            log.append([batch])
            copy = tmp_path / f"as left by kill -9 after {appended}"
            shutil.copytree(log.directory, copy)
            with closing(Log.open(copy, "node1")) as left, closing(LogReader.open(copy)) as reader:
                assert left.end == batch.end
                assert reader.read(0, MAX_BATCH_BYTES) == BATCHES[:appended]


def test_every_commit_is_synced(log: Log) -> None:
    # A killed process can't show a missing fsync, only a power cut could.
    settings = [log._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert settings == ["wal", 2]


def test_every_directory_and_every_log_has_an_id_of_its_own(tmp_path: Path) -> None:
    disk_ids, log_ids = set(), set()
    for name in ("one", "two", "three"):
        with closing(Log.open(tmp_path / name, "master")) as log:
            log.begin_reign()
            disk_ids.add(log.disk_id)
            log_ids.add(log.log_id)
    assert len(disk_ids) == len(log_ids) == 3


def test_a_directory_is_open_once_at_a_time(log: Log) -> None:
    with pytest.raises(LogInUseError, match="in use by node1, process"):
        Log.open(log.directory, "node1")
    log.append(BATCHES)
    assert log.end == BATCHES[-1].end


def test_a_full_disk_refuses_an_append_as_a_whole_and_takes_the_next_when_there_is_room(tmp_path: Path) -> None:
    small, large = make_batches("b", "x" * 1_000_000, previous=BATCHES[0].end)
    with closing(new_log(tmp_path, BATCHES[0])) as log, closing(LogReader.open(tmp_path)) as reader:
        log._connection.execute("PRAGMA max_page_count = 100")
        for _ in range(2):
            with pytest.raises(DiskFullError):
                log.append([small, large])
            assert log.end == BATCHES[0].end
            assert reader.read(0, MAX_BATCH_BYTES) == BATCHES[:1]

        log.append([small])
        log._connection.execute("PRAGMA max_page_count = 10000")
        log.append([large])
        assert reader.read(0, MAX_BATCH_BYTES) == [BATCHES[0], small, large]

    with closing(Log.open(tmp_path, "node1")) as log:
        assert log.end == large.end


def test_a_log_is_not_adopted_when_there_is_no_room_for_its_first_records(tmp_path: Path) -> None:
    (large,) = make_batches("x" * 1_000_000)
    with closing(Log.open(tmp_path, "node1")) as log, closing(LogReader.open(tmp_path)) as reader:
        log._connection.execute("PRAGMA max_page_count = 100")
        with pytest.raises(DiskFullError):
            log.append([large], adopt=LOG_ID)
        assert (log.log_id, log.epoch, log.end) == (None, 0, START)
        assert reader.identity() == Identity("node1", log.disk_id, None, 0)

        log.append(BATCHES, adopt=LOG_ID)
        assert reader.identity() == Identity("node1", log.disk_id, LOG_ID, 1)


def test_another_log_is_not_adopted_in_place_of_one_with_records(log: Log) -> None:
    log.append(BATCHES)
    for batches in ([], make_batches("x", log_id=OTHER_LOG_ID)):
        with pytest.raises(AssertionError):
            log.append(batches, adopt=OTHER_LOG_ID)
    assert (log.log_id, log.end) == (LOG_ID, BATCHES[-1].end)


def test_another_log_takes_the_place_of_one_without_records_and_its_epochs(tmp_path: Path) -> None:
    batches = make_batches("x", log_id=OTHER_LOG_ID)
    with closing(new_log(tmp_path)) as log:
        log.raise_epoch(9)
        log.append([], adopt=LOG_ID)
        assert log.epoch == 9
        log.append(batches, adopt=OTHER_LOG_ID, epoch=3)
        assert (log.log_id, log.epoch, log.end) == (OTHER_LOG_ID, 3, batches[-1].end)
    with closing(Log.open(tmp_path, "node1")) as log:
        assert (log.log_id, log.epoch, log.end) == (OTHER_LOG_ID, 3, batches[-1].end)


def test_an_epoch_is_noted_with_and_without_batches_and_never_lowered(tmp_path: Path) -> None:
    with closing(new_log(tmp_path)) as log:
        for batches, epoch, highest in ((BATCHES[:1], 4, 4), (BATCHES[1:2], 2, 4), ([], 6, 6), (BATCHES[2:], 0, 6)):
            log.append(batches, epoch=epoch)
            assert log.epoch == highest
    with closing(Log.open(tmp_path, "node1")) as log:
        assert (log.epoch, log.end) == (6, BATCHES[-1].end)


def test_the_next_reign_begins_above_a_raised_epoch(tmp_path: Path) -> None:
    with closing(new_log(tmp_path, *BATCHES)) as log:
        log.raise_epoch(7)
        log.raise_epoch(3)
        assert log.epoch == 7
    with closing(Log.open(tmp_path, "node1")) as log:
        assert log.begin_reign() == 8


def test_batches_alone_are_committed_by_one_statement_and_others_together_with_what_goes_with_them(log: Log) -> None:
    log.append(make_batches("the first of this epoch"))
    statements: list[str] = []
    log._connection.set_trace_callback(lambda statement: statements.append(statement.split()[0]))

    log.append(make_batches(*"abcd", previous=log.end))
    assert statements == ["INSERT"]
    keyed = make_keyed_batch(("key", ["e"]), previous=log.end)
    many = make_batches(*"fghijklmnopqrstuvwxyz", previous=keyed.end)
    large = make_batches("x" * 300_000, previous=many[-1].end)
    for batches in ([keyed], many, large):
        statements.clear()
        log.append(batches)
        assert (statements[0], statements[-1]) == ("BEGIN", "COMMIT")


def test_the_journal_is_begun_anew_in_time_though_nobody_works_it_off_beside(log: Log) -> None:
    for size, commits in ((300, 3_000), (20_000, 1_500), (500_000, 60)):
        for _ in range(commits):
            log.append(make_batches("x" * size, previous=log.end))
        assert journal(log.directory).stat().st_size < 20 << 20
