"""A log and a reader of it, for the tests of this folder that have no others."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from replicated_log.storage.log import Log
from replicated_log.storage.log_reader import LogReader
from tests.unit.builders import new_log


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with closing(new_log(tmp_path)) as log:
        yield log


@pytest.fixture
def reader(log: Log) -> Iterator[LogReader]:
    with closing(LogReader.open(log.directory)) as reader:
        yield reader
