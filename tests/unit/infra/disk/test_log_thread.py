"""A log on its threads: what works its journal off runs beside the appends."""

import asyncio
import os
from contextlib import closing
from pathlib import Path

import pytest

from infra.aio.tasks import beside
from infra.disk.log_thread import LogThread, open_log
from replicated_log.storage.log_reader import LogReader
from tests.cluster import PATIENCE_S, eventually
from tests.unit.builders import make_batches


async def append(log: LogThread, mebibytes: int) -> None:
    for _ in range(mebibytes):
        assert log.log.log_id is not None
        batches = make_batches("x" * (1 << 20), previous=log.log.end, epoch=1, log_id=log.log.log_id)
        appended: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        log.append(batches, appended.set_result, appended.set_exception)
        await appended


async def test_a_long_journal_is_worked_off_beside_the_appends(tmp_path: Path) -> None:
    async with open_log(tmp_path, "node1") as log:
        await log.begin_reign()
        async with beside(log.work_off_journal()):
            for _ in range(3):
                await append(log, 10)
                await eventually(lambda: not log.log.journal_is_long, "the journal is worked off")
        assert (tmp_path / "log.sqlite").stat().st_size > 24 << 20


async def test_a_log_that_is_closed_while_its_journal_is_worked_off_is_whole(tmp_path: Path) -> None:
    for reign in range(1, 6):
        async with open_log(tmp_path, "node1") as log:
            assert await log.begin_reign() == reign
            async with beside(log.work_off_journal()):
                await append(log, 9)
            assert log.log.end.offset == 9 * reign
    with closing(LogReader.open(tmp_path)) as reader:
        assert reader.verified().offset == 45


async def test_what_fails_beside_the_appends_leaves_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)

    async def run() -> None:
        async with open_log(tmp_path, "node1") as log:
            await log.begin_reign()
            async with beside(log.work_off_journal()):
                await append(log, 10)
                async with asyncio.timeout(PATIENCE_S):
                    await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as raised:
        await run()
    assert raised.group_contains(OSError, match="log.sqlite")
