from itertools import count

import pytest

from tests.simulation.model_log import ModelDisk, ModelLog
from tests.unit.builders import LOG_ID, make_batches
from tests.unit.log_contract import LogContract


def new_disk() -> ModelDisk:
    numbers = count(1)
    return ModelDisk("disk", lambda: f"{next(numbers):032x}")


class TestModelLog(LogContract):
    @pytest.fixture
    def log(self) -> ModelLog:
        return ModelLog(new_disk())

    @pytest.fixture
    def reader(self, log: ModelLog) -> ModelLog:
        return log


def test_what_was_only_written_survives_the_process_and_not_a_power_cut() -> None:
    first, second = make_batches("a", "b")
    disk = new_disk()
    log = ModelLog(disk)
    log.adopt(LOG_ID)
    disk.write([first])
    assert log.end.offset == 0
    log = ModelLog(disk)
    assert log.end == first.end
    disk.write([second])
    disk.cut_power()
    assert ModelLog(disk).end == first.end


def test_an_epoch_is_noted_with_the_commit_and_forgotten_with_the_log_it_was_of() -> None:
    disk = new_disk()
    log = ModelLog(disk)
    log.append((), adopt=LOG_ID, epoch=7)
    disk.write((), epoch=9)
    disk.cut_power()
    assert ModelLog(disk).epoch == 7
    log.append((), epoch=5)
    assert log.epoch == 7
    log.append((), adopt="ab" * 16, epoch=2)
    assert (log.log_id, log.epoch) == ("ab" * 16, 2)
