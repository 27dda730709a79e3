"""The README's curl examples, run as they are written there, against nodes at the addresses that it names."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import PATIENCE_S, Cluster, cluster_of
from tests.container_broker import AnyBroker

README = Path(__file__).parents[2] / "README.md"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("fixed_ports"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl"),
]


@pytest.fixture
async def cluster(broker: AnyBroker, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster_of(broker.amqp_url, tmp_path, {"node1": {}, "node2": {}}) as cluster:
        for node, port in zip(cluster.nodes, (8000, 8080, 8090), strict=True):
            node.listen_at(port)
        yield await cluster.started()


def examples() -> list[str]:
    lines = [line.strip() for line in README.read_text().splitlines() if line.startswith("    ")]
    return [line for line in lines if line.startswith("curl ") or "| curl " in line]


async def output(example: str, *, until: str | None = None) -> str:
    """What it prints: all of it, or up to a line that begins with ``until``, when it would not end by itself."""
    shell = await asyncio.create_subprocess_exec(
        "bash", "-c", example, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert shell.stdout is not None
    printed = ""
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for line in shell.stdout:
                printed += line.decode()
                if until is not None and printed.splitlines()[-1].startswith(until):
                    return printed
            assert await shell.wait() == 0, example
    finally:
        if shell.returncode is None:
            os.killpg(shell.pid, signal.SIGTERM)
            await shell.wait()
    return printed


async def test_the_examples_do_what_they_say(cluster: Cluster) -> None:
    write, keyed, lines, read, follow = examples()
    first = json.loads(await output(write))
    assert (first["offset"], first["w"], len(first["acks"])) == (0, 2, 2)
    again: list[Any] = [json.loads(await output(keyed)) for _ in range(2)]
    assert [answer["offset"] for answer in again] == [1, 1]
    assert json.loads(await output(lines))["count"] == 2
    page = json.loads(await output(read))
    assert [record["message"] for record in page["messages"]] == ["one", "two"]
    followed = await output(follow, until="id: 3")
    assert [line for line in followed.splitlines() if line.startswith("id: ")][-4:] == [f"id: {n}" for n in range(4)]


def test_the_answer_that_it_shows_has_the_fields_of_a_real_one() -> None:
    shown = README.read_text().split("    {", 1)[1].split("\n\n", 1)[0]
    assert set(json.loads("{" + shown)) == {"offset", "epoch", "w", "write_concern", "acks", "elapsed_ms"}
