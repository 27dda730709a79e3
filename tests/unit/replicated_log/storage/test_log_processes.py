"""The log under real processes: one at a time, and killed at any moment."""

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

import pytest

from replicated_log.storage.log import Log
from replicated_log.storage.log_reader import LogReader
from replicated_log.wire.batch import MAX_BATCH_BYTES
from replicated_log.wire.errors import LogInUseError
from tests.unit.log_process import RECORDS_PER_COMMIT


@contextmanager
def appending_process(directory: Path) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """A process that appends for ever, and what it reports."""
    command = [sys.executable, "-m", "tests.unit.log_process", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout
        finally:
            process.kill()


def test_a_second_process_is_refused_and_told_who_has_the_directory(tmp_path: Path) -> None:
    with appending_process(tmp_path) as (process, reported):
        reported.readline()
        with pytest.raises(LogInUseError, match=f"in use by node1, process {process.pid}$"):
            Log.open(tmp_path, "node1")


def test_a_log_whose_process_was_killed_holds_everything_it_reported(tmp_path: Path) -> None:
    for epoch in range(1, 4):
        with appending_process(tmp_path) as (process, reported):
            lines = [reported.readline() for _ in range(random.randint(1, 30))]
            process.kill()
            last_reported = int([*lines, *reported][-1])

        with closing(Log.open(tmp_path, "node1")) as log, closing(LogReader.open(tmp_path)) as reader:
            stored = [message for batch in reader.read(0, MAX_BATCH_BYTES) for message in batch.messages()]
            assert log.epoch == epoch
            assert log.end.offset == len(stored) >= last_reported
            assert len(stored) % RECORDS_PER_COMMIT == 0
            assert stored == [str(offset) for offset in range(len(stored))]
