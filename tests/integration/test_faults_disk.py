"""Disks that fail, or give back something else than what was written."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from replicated_log.storage.log import Log
from replicated_log.storage.log_reader import database
from tests.cluster import Cluster, Node, eventually
from tests.faults_disk import SYNC, WRITE, failing
from tests.integration.conftest import NewCluster
from tests.unit.builders import make_batches

pytestmark = pytest.mark.slow

LARGE = "x" * 1_000_000


@pytest.fixture
async def pair(new_cluster: NewCluster) -> AsyncIterator[Cluster]:
    """A master and one secondary, up and healthy, with one message."""
    async with new_cluster({"node1": {}}) as cluster:
        await cluster.started()
        await cluster.master.append("before", w=2)
        yield cluster


in_each_call = pytest.mark.parametrize("calls", [SYNC, WRITE], ids=["sync", "write"])


@in_each_call
async def test_a_master_whose_disk_fails_ends_before_it_answers(pair: Cluster, calls: tuple[str, ...]) -> None:
    async with failing(pair.master, "log.sqlite-wal", calls):
        status, problem = await pair.master.post("perhaps", w=1)
        assert (status, problem["appended"]) == (504, "unknown")
        assert await asyncio.to_thread(pair.master.exit_code) == 1
    assert names_the_failure(pair.master, calls)
    await pair.started()
    await pair.master.append("after", w=2)
    assert [message for message in await pair.converged() if message != "perhaps"] == ["before", "after"]


@in_each_call
async def test_a_secondary_whose_disk_fails_ends_and_acks_nothing(pair: Cluster, calls: tuple[str, ...]) -> None:
    node1 = pair["node1"]
    async with failing(node1, "log.sqlite-wal", calls):
        status, problem = await pair.master.post("not on node1", w=2, timeout=3)
        assert await asyncio.to_thread(node1.exit_code) == 1
    assert (status, problem["missing"]) == (504, ["node1"])
    assert names_the_failure(node1, calls)
    await pair.started()
    await pair.master.append("after", w=2)
    assert await pair.converged() == ["before", "not on node1", "after"]


def names_the_failure(node: Node, calls: tuple[str, ...]) -> bool:
    """So that an operator knows from the last line what failed, and on which disk."""
    error = {SYNC: "SQLITE_IOERR_FSYNC", WRITE: "SQLITE_IOERR_WRITE"}[calls]
    last_line = node.logged().splitlines()[-1]
    return last_line.endswith(f"the process ends: disk I/O error ({error}) in {node.data}")


@in_each_call
async def test_a_failure_while_sqlite_works_off_its_journal_ends_the_process_too(
    pair: Cluster, calls: tuple[str, ...]
) -> None:
    """Most of that goes on beside the commits. Those already answered stay; none after is."""
    appended = 0
    async with failing(pair.master, "log.sqlite", calls):
        try:
            while (answer := await pair.master.post(LARGE, w=1))[0] == 201:
                appended += 1
                assert appended < 100, "the master goes on though its disk fails"
            # A request that comes when the process is about to end already is refused as by a read-only master.
            assert answer[1]["appended"] == ("no" if answer[1]["code"] == "read-only" else "unknown"), answer
        except aiohttp.ClientError:
            pass  # It had ended before it was asked.
        assert await asyncio.to_thread(pair.master.exit_code) == 1
    last_line = pair.master.logged().splitlines()[-1]
    # What is copied beside the commits is synced by us, unless nothing was committed meanwhile.
    errors = {
        SYNC: ("disk I/O error (SQLITE_IOERR_FSYNC)", "[Errno 5]"),
        WRITE: ("disk I/O error (SQLITE_IOERR_WRITE)",),
    }
    assert any(f"the process ends: {error}" in last_line for error in errors[calls])
    assert str(pair.master.data) in last_line
    await pair.started()
    await pair.master.append("after", w=2)
    log = await pair.converged()
    assert log in (["before", *[LARGE] * n, "after"] for n in (appended, appended + 1))


@in_each_call
async def test_a_secondary_that_can_not_work_off_its_journal_ends_too(pair: Cluster, calls: tuple[str, ...]) -> None:
    node1 = pair["node1"]
    async with failing(node1, "log.sqlite", calls):
        for _ in range(20):
            await pair.master.append(LARGE, w=1)
        assert await asyncio.to_thread(node1.exit_code) == 1
    assert "the process ends: " in node1.logged().splitlines()[-1]
    await pair.started()
    await pair.master.append("after", w=2)
    assert await pair.converged() == ["before", *[LARGE] * 20, "after"]


@pytest.mark.heart
async def test_what_a_killed_process_left_in_sqlites_journal_is_on_disk_when_it_serves_again(pair: Cluster) -> None:
    pair.master.kill()
    pair.master.start()
    await eventually(pair.master.status, "the master serves")
    copy = pair.directory / "copy.sqlite"
    shutil.copy(pair.master.data / "log.sqlite", copy)
    with closing(sqlite3.connect(copy)) as without_journal:
        assert without_journal.execute("SELECT count(*) FROM batches").fetchone() == (1,)


async def test_a_corrupt_log_is_refused_at_start_with_the_offset_and_the_way_back(pair: Cluster) -> None:
    for n in range(5):
        await pair.master.append(f"message {n}", w=2)
    node1 = pair["node1"]

    assert "`python -m secondary set-aside`" in await refusal_of_corrupt(node1)
    node1.command("set-aside")
    await pair.started()
    await pair.master.append("again on node1", w=2)

    assert "`python -m master restore URL-OF-A-SECONDARY ...`" in await refusal_of_corrupt(pair.master)
    pair.master.command("restore", node1.url)
    await pair.started()
    await pair.master.append("again on the master", w=2)
    assert await pair.converged() == [
        "before",
        *(f"message {n}" for n in range(5)),
        "again on node1",
        "again on the master",
    ]


async def test_a_malformed_log_is_refused_with_the_way_back_too(pair: Cluster) -> None:
    node1 = pair["node1"]
    assert node1.stop() == 0
    file = database(node1.data)
    # Without its first page, SQLite takes it for no database at all.
    file.write_bytes(bytes(100) + file.read_bytes()[100:])
    node1.start()
    assert await asyncio.to_thread(node1.exit_code) == 1
    last_line = node1.logged().splitlines()[-1]
    assert "the process ends: the log is corrupt at offset 0: file is not a database; " in last_line
    assert "`python -m secondary set-aside`" in last_line
    node1.command("set-aside")
    await pair.started()
    await pair.master.append("after", w=2)
    assert await pair.converged() == ["before", "after"]


async def test_what_is_damaged_further_back_than_a_start_looks_is_a_problem_of_who_reads_it(
    new_cluster: NewCluster,
) -> None:
    async with new_cluster({"node1": {}}) as cluster:
        master = cluster.master
        with closing(Log.open(master.data, "master")) as log:
            log.begin_reign()
            assert log.log_id is not None
            log.append(make_batches(*[f"message {n:04}" for n in range(1_100)], log_id=log.log_id))
        await cluster.started()
        await cluster.converged()
        assert master.stop() == 0
        change(database(master.data), b"message 0007", b"massage 0007")
        await cluster.started()
        fault = "the log is corrupt at offset 7: "
        for path in ("/messages/7", "/messages?from=0", "/batches?from=3"):
            async with cluster.http.get(master.url + path) as response:
                assert response.status == 500
                problem = await response.json(content_type=None)
            assert problem["code"] == "corrupt-log"
            assert fault in problem["detail"]
            assert "appended" not in problem
        with pytest.raises(aiohttp.ClientPayloadError):
            await master.messages()
        lines = [line for line in master.logged().splitlines() if fault in line]
        assert len(lines) == 4, master.logged()
        assert (await master.get("/messages/8"))["message"] == "message 0008"
        await master.append("after", w=2)


def change(file: Path, written: bytes, instead: bytes) -> None:
    data = file.read_bytes()
    assert data.count(written) == 1
    file.write_bytes(data.replace(written, instead))


async def refusal_of_corrupt(node: Node) -> str:
    """Change what was stored at offset 3 while the node does not run; the last line of its next start."""
    assert node.stop() == 0
    change(database(node.data), b"message 2", b"massage 2")
    node.start()
    assert await asyncio.to_thread(node.exit_code) == 1
    last_line = node.logged().splitlines()[-1]
    assert "the process ends: the log is corrupt at offset 3" in last_line
    return last_line
