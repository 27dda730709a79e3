"""The replicator on a real log, and without a broker: what clients are told who append with keys, or wait."""

import asyncio
import gc
import sys
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from infra.aio.tasks import beside
from infra.broker.free_ports import free_ports
from infra.disk.log_thread import SLICE_KEYS, LogThread, open_log
from infra.rabbitmq.names import Names
from master.commit_gatherer import ENOUGH_RECORDS
from master.outcome import (
    EndMismatchError,
    KeyReusedError,
    NoSuchRecordError,
    NotCommittedError,
    NotReachedError,
    ReplicationResult,
)
from master.pending_appends import PendingAppend
from master.replicator import Replicator
from replicated_log.master.reign import OverloadedError, ReadOnlyError, Reign
from replicated_log.wire.batch import START, Position
from replicated_log.wire.delivery import ReignId
from replicated_log.wire.errors import CorruptLogError
from tests.unit.builders import make_ack
from tests.unit.replicated_log.storage.test_key_index import change

T = TypeVar("T")


@asynccontextmanager
async def replicating(directory: Path, *secondaries: str) -> AsyncIterator[Replicator]:
    """A master that never reaches a broker."""
    async with open_log(directory, "master") as log:
        replicator = await new_replicator(log, secondaries)
        async with beside(replicator.run()):
            yield replicator


async def new_replicator(log: LogThread, secondaries: tuple[str, ...]) -> Replicator:
    epoch = await log.begin_reign()
    assert log.log.log_id is not None
    reign = Reign[PendingAppend](ReignId(log.log.log_id, epoch, "reign"), secondaries, log.log.end)
    (port,) = free_ports(1)
    return Replicator(reign, log, name="master", names=Names("main"), amqp_urls=[f"amqp://127.0.0.1:{port}/"])


async def append(
    replicator: Replicator, *texts: str, key: str | None = None, if_end: int | None = None
) -> ReplicationResult:
    messages = [text.encode() for text in texts]
    return await replicator.append(messages, w=1, timeout_s=30, key=key, if_end=if_end)


def acked(replicator: Replicator, end: Position, *, disk_id: str = "disk-1") -> None:
    """By node1."""
    reign = replicator.reign
    reign.receive(make_ack(end, disk_id=disk_id, reign=reign.id, log_id=reign.id.log_id), 0.0)
    replicator._perform()


class Client:
    """One who appends, and is told what became of it."""

    def __init__(self, replicator: Replicator, *texts: str, w: int = 1, timeout_s: float = 30) -> None:
        self.told: asyncio.Future[ReplicationResult | Exception] = asyncio.get_running_loop().create_future()
        messages = [text.encode() for text in texts]
        self.pending = replicator.begin(messages, self.tell, w=w, timeout_s=timeout_s)

    def tell(self, outcome: ReplicationResult | Exception) -> None:
        self.told.set_result(outcome)


async def all_told(*clients: Client) -> list[int]:
    """Of how many records those commits were that these were told at."""
    records: Counter[float | None] = Counter()
    for client in clients:
        result = await client.told
        assert isinstance(result, ReplicationResult)
        ((_, committed_at),) = result.holders.since
        records[committed_at] += result.count
    return list(records.values())


async def at_once(*asked: Awaitable[T]) -> list[T | BaseException]:
    return await asyncio.gather(*asked, return_exceptions=True)


async def test_a_retry_is_told_where_the_first_one_is(tmp_path: Path) -> None:
    async with replicating(tmp_path) as replicator:
        await append(replicator, "plain")
        first = await append(replicator, "a", "b", key="k")
        again = await append(replicator, "a", "b", key="k")
        assert (first.offset, first.count, first.epoch, first.replayed) == (1, 2, 1, False)
        assert (again.offset, again.count, again.epoch, again.replayed) == (1, 2, 1, True)
        assert [name for name, _ in again.held_by] == ["master"]
        assert (await append(replicator, "c")).offset == 3


async def test_a_retry_at_a_master_that_was_restarted_is_told_the_epoch_of_the_record(tmp_path: Path) -> None:
    async with replicating(tmp_path) as replicator:
        await append(replicator, "a", key="k")
    async with replicating(tmp_path) as replicator:
        again = await append(replicator, "a", key="k")
        assert (again.offset, again.epoch, again.replayed) == (0, 1, True)
        new = await append(replicator, "a", key="k2")
        assert (new.offset, new.epoch, new.replayed) == (1, 2, False)
        with pytest.raises(KeyReusedError):
            await append(replicator, "b", key="k")


async def test_many_at_once_with_one_key_append_once(tmp_path: Path) -> None:
    async with replicating(tmp_path) as replicator:
        same = [append(replicator, "a", key="k") for _ in range(20)]
        others = [append(replicator, "b", key="k") for _ in range(5)]
        many = [append(replicator, "c", key=f"k{number}") for number in range(200)]
        outcomes = await at_once(*same, *others, *many)
        answers = [result for result in outcomes if isinstance(result, ReplicationResult)]
        assert len({result.offset for result in answers[:20]}) == 1
        assert sum(not result.replayed for result in answers[:20]) == 1
        assert all(isinstance(refused, KeyReusedError) for refused in outcomes[20:25])
        assert len({result.offset for result in answers}) == 201
        assert replicator.reign.progress.end.offset == 201
        assert replicator.reign.waiting == 0


async def test_only_one_of_many_who_ask_for_the_same_end_gets_it(tmp_path: Path) -> None:
    async with replicating(tmp_path) as replicator:
        outcomes = await at_once(*(append(replicator, f"m{number}", if_end=0) for number in range(10)))
        assert [outcome.offset for outcome in outcomes if isinstance(outcome, ReplicationResult)] == [0]
        refused = [outcome.end_offset for outcome in outcomes if isinstance(outcome, EndMismatchError)]
        assert refused == [1] * 9
        assert (await append(replicator, "next", if_end=1)).offset == 1


async def test_more_keys_than_are_looked_up_in_one_go_are_all_found(tmp_path: Path) -> None:
    keys = [f"k{number}" for number in range(5 * SLICE_KEYS)]
    async with replicating(tmp_path) as replicator:
        first = await at_once(*(append(replicator, key, key=key) for key in keys))
    async with replicating(tmp_path) as replicator:
        again = await at_once(*(append(replicator, key, key=key) for key in keys))
    for result, replayed in zip(first, again, strict=True):
        assert isinstance(result, ReplicationResult)
        assert isinstance(replayed, ReplicationResult)
        assert (replayed.offset, replayed.replayed) == (result.offset, True)


async def test_a_replay_says_since_when_the_master_has_it(tmp_path: Path) -> None:
    async with replicating(tmp_path) as replicator:
        await append(replicator, "a", key="k")
        assert (await append(replicator, "a", key="k")).held_by == [("master", 0.0)]
        outcomes = await at_once(append(replicator, "b", key="k2"), append(replicator, "b", key="k2"))
        (behind,) = [result for result in outcomes if isinstance(result, ReplicationResult) and result.replayed]
        ((_, since),) = behind.held_by
        assert since  # Where the other one is stored, it was stored after both were asked for.


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
        assert isinstance(await late.told, NotReachedError | NotCommittedError)
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
        assert await all_told(*clients, Client(replicator, "c")) == [3]


async def test_enough_records_wait_for_no_more(tmp_path: Path) -> None:
    async with replicating(tmp_path) as replicator:
        clients = [Client(replicator, *"m" * ENOUGH_RECORDS), Client(replicator, "a")]
        await asyncio.sleep(0)
        assert await all_told(*clients, Client(replicator, "b")) == [ENOUGH_RECORDS + 1, 1]


async def test_whatever_lets_the_reign_decide_commits_those_that_are_there(tmp_path: Path) -> None:
    async with replicating(tmp_path) as replicator:
        clients = [Client(replicator, "a"), Client(replicator, "b")]
        replicator._perform()
        assert await all_told(*clients, Client(replicator, "c")) == [2, 1]


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


async def test_a_retry_waits_for_the_copies_it_asks_for(tmp_path: Path) -> None:
    async with replicating(tmp_path) as replicator:
        await append(replicator, "a", "b", key="k")
    async with replicating(tmp_path, "node1") as replicator:
        with pytest.raises(NotReachedError) as not_reached:
            await replicator.append([b"a", b"b"], w=2, timeout_s=0.2, key="k")
        result = not_reached.value.result
        assert (result.offset, result.count, result.replayed, result.missing) == (0, 2, True, ["node1"])
        assert replicator.reign.waiting == 0


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


async def test_a_key_in_a_damaged_place_is_refused_and_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replicated_log.storage.log._CHECKED_AT_OPEN", 1)
    async with replicating(tmp_path) as replicator:
        await append(replicator, "a", key="k1")
        await append(replicator, "b", key="k2")
    change(tmp_path, "UPDATE keys SET first_offset = 1 WHERE key = 'k1'")
    async with replicating(tmp_path) as replicator:
        for refused in await at_once(*(append(replicator, "a", key="k1") for _ in range(3))):
            assert isinstance(refused, CorruptLogError)
            assert refused.offset == 1
            assert "'k1'" in str(refused)
        assert (await append(replicator, "b", key="k2")).replayed
        assert (await append(replicator, "c", key="k3")).offset == 2
