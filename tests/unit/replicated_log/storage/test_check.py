"""``python -m replicated_log check``: one log, two logs, damaged logs, no log."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from replicated_log.__main__ import main
from replicated_log.storage.log import Log
from replicated_log.storage.log_reader import database
from replicated_log.storage.wal_check import journal
from replicated_log.wire.batch import encode_batch

LOG_ID = "ab" * 16


def write_log(directory: Path, *messages: bytes) -> Path:
    log = Log.open(directory, "node1")
    log.adopt(LOG_ID)
    for message in messages:
        log.append([encode_batch([message], log_id=LOG_ID, epoch=1, time_ms=0, previous=log.end)])
    log.close()
    return directory


def test_a_sound_log_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(write_log(tmp_path, b"a", b"b"))]) == 0
    assert f"sound; 2 records of log {LOG_ID}, node node1" in capsys.readouterr().out


def test_two_equal_logs_are_equal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = [write_log(tmp_path / name, b"a", b"b") for name in ("one", "other")]
    assert main(["check", *map(str, logs)]) == 0
    assert "they are equal" in capsys.readouterr().out


def test_a_log_that_is_behind_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    longer, shorter = write_log(tmp_path / "one", b"a", b"b", b"c"), write_log(tmp_path / "other", b"a")
    for logs in ((longer, shorter), (shorter, longer)):
        assert main(["check", *map(str, logs)]) == 0
        assert f"{shorter} is 2 records behind" in capsys.readouterr().out


def test_two_histories_are_told_apart_by_the_offset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = [write_log(tmp_path / "one", b"a", b"b", b"c"), write_log(tmp_path / "other", b"a", b"x", b"c")]
    assert main(["check", *map(str, logs)]) == 1
    assert "they differ from offset 1 on" in capsys.readouterr().err


def test_damage_is_named_by_its_offset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_log(tmp_path, b"a", b"b", b"c")
    connection = sqlite3.connect(database(tmp_path))
    with connection:
        data = connection.execute("SELECT data FROM batches WHERE first_offset = 1").fetchone()[0]
        connection.execute("UPDATE batches SET data = ? WHERE first_offset = 1", (data[:-1] + b"x",))
    connection.close()
    assert main(["check", str(tmp_path)]) == 1
    assert "the log is corrupt at offset 1" in capsys.readouterr().err


def test_no_log_is_no_sound_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path)]) == 1
    assert "there is no log" in capsys.readouterr().err
    database(tmp_path).write_bytes(b"nonsense" * 1000)
    assert main(["check", str(tmp_path)]) == 1
    assert main(["check"]) == 2
    assert main([]) == 2


def test_batches_that_a_flipped_bit_hides_are_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_log(tmp_path, b"a", b"b", b"c")
    data = bytearray(database(tmp_path).read_bytes())
    cells = 3 * 4096 + 4
    assert data[cells] == 3
    data[cells] = 2
    database(tmp_path).write_bytes(data)
    assert main(["check", str(tmp_path)]) == 1
    assert "the log is corrupt at offset 2: " in capsys.readouterr().err


def test_a_damaged_journal_is_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    killed = tmp_path / "killed"
    log = Log.open(tmp_path / "living", "node1")
    log.adopt(LOG_ID)
    for message in (b"a", b"b", b"c"):
        log.append([encode_batch([message], log_id=LOG_ID, epoch=1, time_ms=0, previous=log.end)])
    shutil.copytree(log.directory, killed)
    log.close()
    assert main(["check", str(killed)]) == 0
    data = bytearray(journal(killed).read_bytes())
    data[-2 * 4120] ^= 1
    journal(killed).write_bytes(data)
    capsys.readouterr()
    assert main(["check", str(killed)]) == 1
    assert "the log is corrupt at offset 1: log.sqlite-wal is damaged at byte " in capsys.readouterr().err
