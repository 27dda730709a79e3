"""The replicator on a real log, and without a broker: what becomes of appends with keys."""

from pathlib import Path

import pytest

from infra.disk.log_thread import SLICE_KEYS
from master.outcome import KeyReusedError, NotReachedError, ReplicationResult
from replicated_log.wire.errors import CorruptLogError
from tests.unit.driven_replicator import append, at_once, replicating
from tests.unit.replicated_log.storage.test_key_index import change


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


async def test_a_retry_waits_for_the_copies_it_asks_for(tmp_path: Path) -> None:
    async with replicating(tmp_path) as replicator:
        await append(replicator, "a", "b", key="k")
    async with replicating(tmp_path, "node1") as replicator:
        with pytest.raises(NotReachedError) as not_reached:
            await replicator.append([b"a", b"b"], w=2, timeout_s=0.2, key="k")
        result = not_reached.value.result
        assert (result.offset, result.count, result.replayed, result.missing) == (0, 2, True, ["node1"])
        assert replicator.reign.waiting == 0


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
