"""The scriptable client, run as a script runs it, against a real cluster."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import pytest

from client.answers import Record
from client.api import Node
from tests.cluster import Cluster, eventually
from tests.integration.conftest import NewCluster

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


async def start(cluster: Cluster, *arguments: str, stdout: int = PIPE) -> Process:
    urls = ["--master", cluster.master.url]
    for node in cluster.secondaries.values():
        urls += ["--secondary", node.url]
    # A test run in the background has SIGINT ignored, and children inherit that; what a shell starts does not.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "client", *urls, *arguments]
    return await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=os.environ, stdin=PIPE, stdout=stdout, stderr=PIPE, limit=2**24
    )


async def run(cluster: Cluster, *arguments: str, stdin: str = "") -> tuple[int | None, str, str]:
    """Exit code, standard output and standard error."""
    process = await start(cluster, *arguments)
    out, err = await process.communicate(stdin.encode())
    return process.returncode, out.decode(), err.decode()


async def run_json(cluster: Cluster, *arguments: str, stdin: str = "") -> tuple[int | None, list[Any], list[Any]]:
    """As `run` with --json: what each line says."""
    code, *outputs = await run(cluster, *arguments, "--json", stdin=stdin)
    out, err = ([json.loads(line) for line in output.splitlines()] for output in outputs)
    return code, out, err


async def test_a_message_goes_the_way_of_a_script(cluster: Cluster) -> None:
    code, out, _ = await run(cluster, "append", "--w", "2", "[bold]first\x1b[/]")
    assert (code, out[:32]) == (0, "Appended at offset 0, w=2, held ")
    code, out, _ = await run(cluster, "wait", "0", "--w", "3")
    assert (code, out[:24]) == (0, "Offset 0, w=3, held by m")
    for words, name in [([], "master"), (["master"], "master"), (["1"], "node1"), (["node2"], "node2")]:
        code, out, _ = await run(cluster, "list", *words)
        assert (code, out.split(" ")[0]) == (0, name)
        assert out.endswith("  epoch 1  [bold]first\\x1b[/]\n")
    code, out, _ = await run(cluster, "status")
    assert code == 0
    assert all(node.url in out for node in cluster.nodes)
    assert "A majority of 3 nodes holds 1 of 1 messages." in out
    code, out, _ = await run(cluster, "health")
    assert (code, out.splitlines()[0]) == (0, "3 of 3 nodes alive; 2 are a majority.")


async def test_programs_are_answered_in_json(cluster: Cluster) -> None:
    code, (appended,), _ = await run_json(cluster, "append", "--w", "all", "--key", "k", "one")
    assert (code, appended["offset"], appended["w"], appended["replayed"]) == (0, 0, 3, False)
    assert {ack["node"] for ack in appended["acks"]} == {"master", "node1", "node2"}
    code, (appended,), _ = await run_json(cluster, "append", "--key", "k", "one")
    assert (code, appended["offset"], appended["replayed"]) == (0, 0, True)

    code, (many,), _ = await run_json(cluster, "append", "--file", "-", stdin="two\n тр и\r\nfour")
    assert (code, many["first_offset"], many["count"]) == (0, 1, 3)
    code, records, _ = await run_json(cluster, "list", "2", "--from", "-3")
    assert code == 0
    assert [(one["offset"], one["message"]) for one in records] == [(1, "two"), (2, " тр и\r"), (3, "four")]

    code, (held,), _ = await run_json(cluster, "wait", "3", "--w", "majority")
    assert (code, held["offset"], held["w"]) == (0, 3, 2)
    code, statuses, _ = await run_json(cluster, "status")
    assert (code, [one["end_offset"] for one in statuses]) == (0, [4, 4, 4])
    code, (health,), _ = await run_json(cluster, "health")
    assert (code, health["secondaries"]) == (0, {"node1": "healthy", "node2": "healthy"})


async def test_what_is_refused_is_1_and_appends_nothing(cluster: Cluster) -> None:
    code, out, err = await run(cluster, "append", "--w", "4", "too many")
    assert (code, out) == (1, "")
    assert "4" in err
    await cluster.master.append("there", w=1)
    for arguments, stdin, problem_code in [
        (("append", "--if-end", "5", "elsewhere"), "", "end-mismatch"),
        (("append", ""), "", "empty-message"),
        (("append", "--file", "-"), "one\n\nthree\n", "empty-message"),
        (("append", "--file", "-"), "x\n" * 10_001, "batch-too-large"),
        (("wait", "99", "--w", "1"), "", "no-such-record"),
    ]:
        code, answers, (problem,) = await run_json(cluster, *arguments, stdin=stdin)
        assert (code, answers, problem["code"]) == (1, [], problem_code)
        assert (problem["appended"], problem["retry"]) == ("no", "no")
    assert (await run(cluster, "append", "--key", "k", "--w", "1", "one"))[0] == 0
    code, _, (problem,) = await run_json(cluster, "append", "--key", "k", "--w", "1", "another")
    assert (code, problem["code"]) == (1, "key-reused")
    assert await cluster.master.messages() == ["there", "one"]


async def test_what_is_not_reached_in_time_is_3_and_tells_the_offset(cluster: Cluster) -> None:
    cluster["node2"].kill()
    code, answers, (late,) = await run_json(cluster, "append", "--w", "3", "--timeout", "0.5", "slow")
    assert (code, answers) == (3, [])
    assert (late["appended"], late["offset"], late["missing"]) == ("yes", 0, ["node2"])
    code, out, err = await run(cluster, "wait", "0", "--w", "3", "--timeout", "0.5")
    assert (code, out) == (3, "")
    assert "node2" in err
    cluster["node2"].start()
    assert (await run(cluster, "wait", "0", "--w", "3"))[0] == 0


async def test_ctrl_c_ends_the_wait_of_an_append_with_130_and_not_the_append(cluster: Cluster) -> None:
    cluster["node2"].kill()
    append = await start(cluster, "append", "--w", "3", "slow")

    async def is_appended() -> bool:
        return await cluster.master.messages() == ["slow"]

    await eventually(is_appended, "the message is in the log")
    append.send_signal(signal.SIGINT)
    out, err = await append.communicate()
    assert (append.returncode, out) == (130, b"")
    assert err == b"Stopped waiting. What was to be appended may be in the log.\n"


async def test_an_append_outlasts_a_master_that_is_stopped(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {}}) as cluster:
        cluster.master.start()
        await eventually(cluster.master.status, "the master serves")
        append = await start(cluster, "append", "--w", "2", "--json", "once")

        async def is_appended() -> bool:
            return await cluster.master.messages() == ["once"]

        await eventually(is_appended, "the message is in the log")
        cluster.master.stop()
        cluster["node1"].start()
        cluster.master.start()
        out, err = await append.communicate()
        assert (append.returncode, err, json.loads(out)["replayed"]) == (0, b"", True)
        assert await cluster.converged() == ["once"]


async def test_what_is_not_reachable_is_4_and_what_is_left_is_shown(cluster: Cluster) -> None:
    cluster.master.kill()
    for command in (("append", "never sent"), ("wait", "0"), ("list",), ("tail",), ("health",)):
        code, out, err = await run(cluster, *command)
        assert (code, out, err) == (4, "", f"master ({cluster.master.url}) is not reachable.\n")
    code, out, err = await run(cluster, "status")
    assert (code, err) == (4, f"master ({cluster.master.url}) is not reachable.\n")
    assert all(node.url in out for node in cluster.secondaries.values())
    code, statuses, (error,) = await run_json(cluster, "status")
    assert (code, [one["name"] for one in statuses]) == (4, ["node1", "node2"])
    assert error["appended"] == "no"


@pytest.mark.parametrize(
    "arguments",
    [
        ("append",),
        ("append", "text", "--file", "-"),
        ("append", "--file", "no such file"),
        ("append", "--file", "-"),
        ("append", "--w", "most", "text"),
        ("append", "--key", "ключ", "text"),
        ("append", "--timeout", "nan", "text"),
        ("wait", "-1"),
        ("list", "3"),
        ("list", "elsewhere"),
        ("follow",),
    ],
)
async def test_what_is_no_command_is_2(new_cluster: NewCluster, arguments: tuple[str, ...]) -> None:
    async with new_cluster({"node1": {}}) as not_started:
        code, out, err = await run(not_started, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("usage: ")


async def test_tail_goes_on_while_its_node_restarts_and_ends_with_ctrl_c(cluster: Cluster) -> None:
    for number in range(20):
        await cluster.master.append(f"message {number}", w=3)
    tail = await start(cluster, "tail", "1", "--json")
    assert tail.stdout

    async def next_message() -> str:
        assert tail.stdout
        message: str = json.loads(await tail.stdout.readline())["message"]
        return message

    async with asyncio.timeout(60):
        assert [await next_message() for _ in range(10)] == [f"message {number}" for number in range(10, 20)]
        await cluster.master.append("live", w=3)
        assert await next_message() == "live"
        cluster["node1"].kill()
        await cluster.master.append("meanwhile", w=1)
        cluster["node1"].start()
        assert await next_message() == "meanwhile"
        tail.send_signal(signal.SIGINT)
        out, err = await tail.communicate()
    assert (tail.returncode, out, err) == (130, b"", b"")


async def test_a_pipe_that_is_closed_ends_the_client_without_a_word(cluster: Cluster) -> None:
    async with Node(cluster.master.url) as master:
        await master.append_many([f"message {number}" for number in range(10_000)])
    for form in ((), ("--json",)):
        read, write = os.pipe()
        listing = await start(cluster, "list", *form, stdout=write)
        os.close(write)
        assert await asyncio.to_thread(os.read, read, 1)
        os.close(read)
        assert listing.stderr
        assert (await listing.wait(), await listing.stderr.read()) == (141, b"")


async def test_an_append_outlasts_a_master_that_is_killed(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {}}) as cluster:
        cluster.master.start()
        await eventually(cluster.master.status, "the master serves")
        append = await start(cluster, "append", "--w", "2", "--json", "once")

        async def is_appended() -> bool:
            return await cluster.master.messages() == ["once"]

        await eventually(is_appended, "the message is in the log")
        cluster.master.kill()
        cluster.master.start()
        cluster["node1"].start()
        out, err = await append.communicate()
        assert (append.returncode, err) == (0, b"")
        assert (json.loads(out)["offset"], json.loads(out)["replayed"]) == (0, True)
        assert await cluster.converged() == ["once"]


async def test_the_client_in_python_appends_reads_follows_and_waits(cluster: Cluster) -> None:
    async with Node(cluster.master.url) as master, Node(cluster["node1"].url) as node1:
        many = await master.append_many(["a", "b", "c"], w="majority", key="batch")
        again = await master.append_many(["a", "b", "c"], w="all", key="batch")
        assert (many.first_offset, many.count, again.first_offset) == (0, 3, 0)
        assert (many.replayed, again.replayed, again.w) == (False, True, 3)
        offset = (await master.append("d", w=1, if_end=3)).offset
        page = await node1.read(-1, min_offset=offset)
        assert [record.message for record in page.messages] == ["d"]
        assert (await master.wait_for(offset, "all")).w == 3
        assert [record.message async for record in node1.records()] == ["a", "b", "c", "d"]
        assert (await master.read(committed=True)).messages == (await node1.read()).messages

        followed: list[Record] = []
        async with asyncio.timeout(60):
            async for record in node1.follow(1):
                followed.append(record)
                if len(followed) == 3:
                    await master.append("e", w=1)
                if len(followed) == 4:
                    break
        assert [record.message for record in followed] == ["b", "c", "d", "e"]
