"""Masters and secondaries whose disks do not hold what they should: found out, never merged, and put right."""

import shutil
import subprocess

import pytest

from replicated_log.storage.log import Log
from replicated_log.wire.batch import encode_batch
from tests.cluster import Cluster, Node, eventually
from tests.integration.conftest import BOTH_WAYS

pytestmark = [pytest.mark.slow, BOTH_WAYS]


async def restore(cluster: Cluster) -> None:
    """The way that the README gives."""
    cluster.master.stop()
    urls = [node.url for node in cluster.secondaries.values()]
    assert cluster.master.command("restore", *urls).startswith("restored")
    await cluster.started()


async def test_a_master_without_its_disk_appends_nothing_until_it_is_restored(cluster: Cluster) -> None:
    for n in range(10):
        await cluster.master.append(f"before {n}", w=3)
    cluster.master.kill()
    shutil.rmtree(cluster.master.data)
    cluster.master.start()

    async def reason() -> str | None:
        read_only: str | None = (await cluster.master.status())["read_only"]
        return read_only

    assert "holds 10 records" in await eventually(reason, "the master knows that it lost its past")
    status, problem = await cluster.master.post("not now", w=1)
    assert (status, problem["code"], problem["appended"]) == (503, "read-only", "no")

    await restore(cluster)
    answer = await cluster.master.append("after", w=3)
    assert (answer["offset"], answer["epoch"]) == (10, 2)
    assert await cluster.converged() == [*(f"before {n}" for n in range(10)), "after"]


async def test_a_master_on_an_old_copy_of_its_disk_appends_nothing_until_it_is_restored(cluster: Cluster) -> None:
    await cluster.master.append("in the copy", w=3)
    cluster.master.stop()
    copy = cluster.directory / "copy"
    shutil.copytree(cluster.master.data, copy)
    await cluster.started()
    await cluster.master.append("not in the copy", w=3)
    cluster.master.stop()
    shutil.rmtree(cluster.master.data)
    copy.rename(cluster.master.data)
    cluster.master.start()

    async def is_read_only() -> bool:
        return bool((await cluster.master.status())["read_only"])

    await eventually(is_read_only, "the master knows that it lost its past")
    await restore(cluster)
    assert (await cluster.master.append("after", w=3))["epoch"] == 3
    assert await cluster.converged() == ["in the copy", "not in the copy", "after"]


async def test_a_restore_asks_every_secondary_and_takes_the_longest_log(cluster: Cluster) -> None:
    await cluster.master.append("on three nodes", w=3)
    node1, node2 = cluster["node1"], cluster["node2"]
    node1.stop()
    await cluster.master.append("on two nodes", w=2)
    cluster.master.kill()
    shutil.rmtree(cluster.master.data)
    with pytest.raises(subprocess.CalledProcessError) as refused:
        cluster.master.command("restore", node1.url, node2.url)
    assert f"nothing restored: {node1.url} does not answer" in refused.value.stderr
    assert not list(cluster.master.data.glob("log.sqlite*"))

    node1.start()
    await eventually(node1.status, "node1 serves")
    report = cluster.master.command("restore", node1.url, node2.url)
    assert report.startswith("restored 2 records")
    assert "from node2 (node1: 1 records; node2: 2 records)" in report
    await cluster.started()
    await cluster.master.append("after", w=3)
    assert await cluster.converged() == ["on three nodes", "on two nodes", "after"]


async def test_a_second_master_on_a_copy_of_the_log_is_found_out(cluster: Cluster) -> None:
    await cluster.master.append("before", w=3)
    cluster.master.stop()
    second = Node(cluster, "master", "master", {"NODE_NAMES": "node1,node2"})
    second.data = cluster.directory / "copy"
    second.log_file = cluster.directory / "second.log"
    second.environ["REPLOG_DATA"] = str(second.data)
    shutil.copytree(cluster.master.data, second.data)
    await cluster.started()
    second.start()
    try:

        async def reason() -> str | None:
            read_only: str | None = (await second.status())["read_only"]
            return read_only

        assert "knows another master of this log" in await eventually(reason, "the second master is read-only")
        assert (await second.post("must not be appended", w=1))[0] == 503
        await cluster.master.append("the first goes on", w=3)
        assert await cluster.converged() == ["before", "the first goes on"]
        assert any("two masters on one log" in node.logged() for node in cluster.secondaries.values())
    finally:
        second.kill()


async def test_a_diverged_secondary_is_shown_stops_appends_and_starts_anew_when_set_aside(cluster: Cluster) -> None:
    await cluster.master.append("before", w=3)
    node1 = cluster["node1"]
    node1.stop()
    log = Log.open(node1.data, "node1")
    assert log.log_id is not None
    log.append([encode_batch([b"forged"], log_id=log.log_id, epoch=1, time_ms=0, previous=log.end)])
    log.close()
    for n in range(3):
        await cluster.master.append(f"after {n}", w=2)
    node1.start()

    async def both_know() -> bool:
        seen = {secondary["name"]: secondary["state"] for secondary in (await cluster.master.status())["secondaries"]}
        return bool(seen["node1"] == (await node1.status())["state"] == "diverged")

    async def is_writable() -> bool:
        return (await cluster.master.status())["read_only"] is None

    await eventually(both_know, "node1 is diverged, and the master knows")
    status, problem = await cluster.master.post("not while node1 holds other records", w=1)
    assert (status, problem["code"], problem["appended"]) == (503, "read-only", "no")
    assert "node1 holds other records" in problem["detail"]
    health = await cluster.master.get("/health")
    assert (health["secondaries"]["node1"], health["alive"]) == ("diverged", 2)
    assert await node1.messages() == ["before", "forged"]

    node1.stop()
    assert "the next start fetches it anew" in node1.command("set-aside")
    await cluster.started()
    await eventually(is_writable, "the master goes on")
    await cluster.master.append("counted again", w=3)
    assert len(await cluster.converged()) == 5
