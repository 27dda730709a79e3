"""Planted bugs in the log and its disk."""

from collections.abc import Sequence
from typing import Any

from replicated_log.wire.batch import Batch
from tests.simulation.model_log import ModelDisk, ModelLog
from tests.simulation.surgery import Around, Surgeon, mutant


@mutant("the log returns from an append before the fsync")
def _(surgeon: Surgeon) -> None:
    def append(real: Around, log: ModelLog, batches: Sequence[Batch], **meta: Any) -> None:
        disk = log.disk
        told, disk.on_durable = disk.on_durable, None
        real(log, batches, **meta)
        disk.on_durable = told

    surgeon.around(ModelLog, "append", append)


@mutant("a new reign does not take a new epoch")
def _(surgeon: Surgeon) -> None:
    def begin_reign(real: Around, log: ModelLog) -> int:
        epoch = max(log.disk.epoch, 1)
        real(log)
        log.disk.epoch = epoch
        return epoch

    surgeon.around(ModelLog, "begin_reign", begin_reign)


@mutant("a power cut tears off what was durable")
def _(surgeon: Surgeon) -> None:
    def cut_power(real: Around, disk: ModelDisk) -> None:
        real(disk)
        if disk.batches:
            disk.forget_after(len(disk.batches) - 1, 0)

    surgeon.around(ModelDisk, "cut_power", cut_power)
