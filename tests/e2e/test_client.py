"""The terminal client, and a client of the seed, against real nodes."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import requests

from tests.cluster import Cluster, cluster_of
from tests.container_broker import AnyBroker
from tests.e2e.on_terminal import CTRL_C, CTRL_D, OnTerminal

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LATENCY_S = 2.0
PROMPT = "\n>"


@pytest.fixture
async def cluster(broker: AnyBroker, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A master, node1 that delays its acks, and node2 that does not."""
    async with cluster_of(broker.amqp_url, tmp_path, {"node1": {"LATENCY": str(LATENCY_S)}, "node2": {}}) as cluster:
        yield await cluster.started()


def client_command(cluster: Cluster) -> list[str]:
    secondaries = [part for node in cluster.secondaries.values() for part in ("--secondary", node.url)]
    return [sys.executable, "-m", "client", "--master", cluster.master.url, *secondaries]


def follow_script(cluster: Cluster, script: str) -> tuple[int, str]:
    """The client's exit code and everything it says when `script` is its standard input."""
    done = subprocess.run(
        client_command(cluster),
        input=script,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        check=False,
    )
    return done.returncode, done.stdout


async def test_a_script_is_followed_line_by_line(cluster: Cluster) -> None:
    script = "w=1 first\nw=2 second\nthird\n\nlist\nlist sub1\nlist2\nstatus\nstop\nnever read\n"
    code, said = follow_script(cluster, script)
    assert code == 0, said
    assert re.findall(r"^> (.*)$", said, re.MULTILINE) == script.split("\n")[:-2]
    held_by = [re.findall(r"(\w+) \(", line) for line in re.findall(r"held by (.*)\.$", said, re.MULTILINE)]
    assert [sorted(names) for names in held_by] == [["master"], ["master", "node2"], ["master", "node1", "node2"]]
    times = [float(seconds) for seconds in re.findall(r"^Execution time: (\d+\.\d\d) seconds$", said, re.MULTILINE)]
    assert len(times) == 3
    assert times[2] >= LATENCY_S
    for node in cluster.nodes:
        assert f"{node.name} ({node.url}): 3 messages" in said
    listed = re.findall(r"^ +\d  \S+  epoch 1  (.*)$", said, re.MULTILINE)
    assert listed == ["first", "second", "third"] * 3
    assert "A majority of 3 nodes holds 3 of 3 messages." in said


async def test_a_script_whose_write_fails_ends_with_exit_code_1_and_no_traceback(cluster: Cluster) -> None:
    cluster.master.kill()
    code, said = follow_script(cluster, "hello\nlist2\n")
    assert code == 1
    assert said.splitlines() == [
        "> hello",
        f"master ({cluster.master.url}) is not reachable.",
        "> list2",
        f"node2 ({cluster['node2'].url}): 0 messages",
    ]


async def test_a_person_at_a_terminal_sees_what_a_blocking_write_waits_for(cluster: Cluster) -> None:
    with OnTerminal(client_command(cluster), env=os.environ, cwd=ROOT) as terminal:
        terminal.expect(f"ReplicatedLog at {cluster.master.url}")
        terminal.expect(PROMPT)
        terminal.type("hello\r")
        waiting = terminal.expect("Appended at offset 0")
        assert re.search(r"Waiting for w=all +\d\.\d s   node1 lag 1   node2 lag 0", waiting), waiting
        answer = terminal.expect("Execution time: ")
        assert all(f"{node.name} (" in answer for node in cluster.nodes)
        assert float(terminal.expect(" seconds").split()[0]) >= LATENCY_S

        terminal.expect(PROMPT)
        terminal.type("list1\r")
        terminal.expect(f"node1 ({cluster['node1'].url}): 1 message\n")
        assert re.search(r"  epoch 1  hello$", terminal.expect("hello"))

        cluster["node1"].kill()
        terminal.expect(PROMPT)
        terminal.type("list1\r")
        terminal.expect(f"\nnode1 ({cluster['node1'].url}) is not reachable.")
        assert terminal.expect(PROMPT) == PROMPT

        terminal.type(CTRL_D)
        code, rest = terminal.ended()
        assert (code, "Traceback" in rest) == (0, False), rest


async def test_ctrl_c_ends_the_wait_and_not_the_append(cluster: Cluster) -> None:
    cluster["node1"].kill()
    with OnTerminal(client_command(cluster), env=os.environ, cwd=ROOT) as terminal:
        terminal.expect(PROMPT)
        terminal.type("hello\r")
        terminal.expect("node1 lag 1")
        terminal.type(CTRL_C)
        terminal.expect("Stopped waiting. The message may have been appended.")
        terminal.expect(PROMPT)
        terminal.type("list\r")
        terminal.expect(f"master ({cluster.master.url}): 1 message\n")
        terminal.expect(PROMPT)
        terminal.type("exit\r")
        code, rest = terminal.ended()
        assert (code, "Traceback" in rest) == (0, False), rest


async def test_a_client_of_the_seed_is_served(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    url = cluster.master.url

    def seed_client() -> None:
        response = requests.post(url, json={"message": "Msg1"}, timeout=60)
        assert (response.status_code, response.text) == (200, "Message received: Msg1")
        response = requests.post(url, json={"message": "w=2 Msg2"}, timeout=60)
        assert (response.status_code, response.text) == (200, "Message received: Msg2")
        response = requests.post(url, json={"message": "Msg3", "w": 1}, timeout=60)
        assert (response.status_code, response.text) == (200, "Message received: Msg3")
        response = requests.post(url, data="w=3 Msg4", headers={"Content-Type": "text/plain"}, timeout=60)
        assert (response.status_code, response.text) == (200, "Message received: Msg4")
        for node in cluster.nodes:
            response = requests.get(node.url, timeout=60)
            assert (response.status_code, response.text) == (200, "Msg1,\nMsg2,\nMsg3,\nMsg4")
        response = requests.post(cluster["node1"].url, json={"message": "to a secondary"}, timeout=60)
        assert response.status_code == 403
        assert response.json()["appended"] == "no"

    await asyncio.to_thread(seed_client)
