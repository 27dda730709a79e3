"""The replicator on a real log, and without a broker: what becomes of appends and waits."""

import asyncio
import gc
import sys
import weakref
from pathlib import Path
from typing import NoReturn

import pytest

from master.commit_gatherer import ENOUGH_RECORDS
from master.outcome import (
    EndMismatchError,
    NoSuchRecordError,
    NotCommittedError,
    NotReachedError,
    ReplicationResult,
)
from replicated_log.master.reign import OverloadedError, ReadOnlyError
from replicated_log.wire.batch import START
from tests.unit.driven_replicator import Client, acked, append, at_once, records_of_commits, replicating


async def test_only_one_of_many_who_ask_for_the_same_end_gets_it(tmp_path: Path) -> None:
    async with replicating(tmp_path) as replicator:
        outcomes = await at_once(*(append(replicator, f"m{number}", if_end=0) for number in range(10)))
        assert [outcome.offset for outcome in outcomes if isinstance(outcome, ReplicationResult)] == [0]
        refused = [outcome.end_offset for outcome in outcomes if isinstance(outcome, EndMismatchError)]
        assert refused == [1] * 9
        assert (await append(replicator, "next", if_end=1)).offset == 1


async def test_who_waits_for_copies_holds_no_messages(tmp_path: Path) -> None:
    async with replicating(tmp_path, "node1") as replicator:
        acked(replicator, START)
        message = b"".join((b"a", b"b"))
        held = sys.getrefcount(message)
        messages = [message]
        waits = asyncio.create_task(replicator.append(messages, w=2, timeout_s=30))
        await replicator._log.reached(0)
        assert (messages, replicator.reign.waiting) == ([], 1)
        assert sys.getrefcount(message) == held
        acked(replicator, replicator.reign.progress.end)
        assert (await waits).offset == 0


async def test_of_a_client_that_is_gone_or_out_of_time_nothing_is_kept(tmp_path: Path) -> None:
    async with replicating(tmp_path, "node1") as replicator:
        acked(replicator, START)
        gone, late = Client(replicator, "a", w=2), Client(replicator, "b", w=2, timeout_s=0.05)
        assert isinstance(await late.outcome, NotReachedError | NotCommittedError)
        assert replicator.forget(gone.pending)
        clients = [weakref.ref(client) for client in (gone, late)]
        del gone, late
        gc.collect()
        assert [client() for client in clients] == [None, None]
        assert replicator.reign.waiting == 0


async def test_what_is_appended_at_about_the_same_time_shares_a_commit(tmp_path: Path) -> None:
    async with replicating(tmp_path) as replicator:
        clients = [Client(replicator, "a"), Client(replicator, "b")]
        await asyncio.sleep(0)  # One turn of the loop.
        assert await records_of_commits(*clients, Client(replicator, "c")) == [3]


async def test_enough_records_wait_for_no_more(tmp_path: Path) -> None:
    async with replicating(tmp_path) as replicator:
        clients = [Client(replicator, *"m" * ENOUGH_RECORDS), Client(replicator, "a")]
        await asyncio.sleep(0)
        assert await records_of_commits(*clients, Client(replicator, "b")) == [ENOUGH_RECORDS + 1, 1]


async def test_whatever_lets_the_reign_decide_commits_those_that_are_there(tmp_path: Path) -> None:
    async with replicating(tmp_path) as replicator:
        clients = [Client(replicator, "a"), Client(replicator, "b")]
        replicator._perform()
        assert await records_of_commits(*clients, Client(replicator, "c")) == [2, 1]


async def test_an_answer_names_the_holders_of_the_moment_when_there_were_enough(tmp_path: Path) -> None:
    async with replicating(tmp_path, "node1") as replicator:
        acked(replicator, START)
        waits = asyncio.create_task(replicator.append([b"a"], w=2, timeout_s=30))
        await replicator._log.reached(0)
        acked(replicator, replicator.reign.progress.end)
        acked(replicator, START, disk_id="another")
        assert [name for name, _ in (await waits).held_by] == ["master", "node1"]


async def test_who_can_not_be_told_keeps_nobody_else_from_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with replicating(tmp_path) as replicator:

        def fail(_: object) -> None:
            raise RuntimeError("on purpose")

        for if_end in (7, None):
            replicator.begin([b"a"], fail, w=1, timeout_s=30, if_end=if_end)
        assert (await append(replicator, "b")).offset == 1
        assert (await append(replicator, "c")).offset == 2
    assert caplog.text.count("could not be told") == 2


async def test_what_breaks_between_two_turns_ends_the_replicator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run_into_it() -> None:
        async with replicating(tmp_path) as replicator:
            decisions = replicator.reign.decisions

            def fail_once() -> NoReturn:
                monkeypatch.setattr(replicator.reign, "decisions", decisions)
                raise RuntimeError("on purpose")

            monkeypatch.setattr(replicator.reign, "decisions", fail_once)
            await append(replicator, "a")

    with pytest.raises(ExceptionGroup) as ended:
        await run_into_it()
    assert ended.value.subgroup(RuntimeError)


async def test_a_node_that_holds_earlier_records_only_is_missing(tmp_path: Path) -> None:
    async with replicating(tmp_path, "node1") as replicator:
        acked(replicator, START)
        await append(replicator, "a", key="k")
        acked(replicator, replicator.reign.progress.end)
        held = await replicator.append([b"a"], w=2, timeout_s=30, key="k")
        assert [name for name, _ in held.held_by] == ["master", "node1"]
        with pytest.raises(NotReachedError) as not_reached:
            await replicator.append([b"b", b"c"], w=2, timeout_s=0.2)
        assert not_reached.value.result.missing == ["node1"]


async def test_waiting_for_a_record_of_any_time(tmp_path: Path) -> None:
    async with replicating(tmp_path) as replicator:
        await append(replicator, "a", "b")
    async with replicating(tmp_path) as replicator:
        await append(replicator, "c")
        for offset, epoch in ((0, 1), (1, 1), (2, 2)):
            result = await replicator.wait(offset, w=1, timeout_s=30)
            assert (result.offset, result.count, result.epoch, result.replayed) == (offset, 1, epoch, False)
            assert result.held_by == [("master", 0.0)]
        with pytest.raises(NoSuchRecordError) as beyond:
            await replicator.wait(3, w=1, timeout_s=30)
        assert beyond.value.end_offset == 3


async def test_waiting_for_more_copies_than_there_are_ends_in_time(tmp_path: Path) -> None:
    async with replicating(tmp_path) as replicator:
        await append(replicator, "a")
    async with replicating(tmp_path, "node1", "node2") as replicator:
        with pytest.raises(NotReachedError) as not_reached:
            await replicator.wait(0, w=2, timeout_s=0.1)
        assert not_reached.value.result.missing == ["node1", "node2"]
        replicator.wind_up(0)
        with pytest.raises(NotReachedError):
            await replicator.wait(0, w=2, timeout_s=3600)
        assert (await replicator.wait(0, w=1, timeout_s=3600)).offset == 0
        with pytest.raises(ReadOnlyError):
            await append(replicator, "b")


async def test_too_many_who_wait_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with replicating(tmp_path) as replicator:
        await append(replicator, "a")
        monkeypatch.setattr("replicated_log.master.reign.MAX_WAITING", 0)
        with pytest.raises(OverloadedError):
            await replicator.wait(0, w=1, timeout_s=30)
        with pytest.raises(OverloadedError):
            await append(replicator, "a", key="k")
