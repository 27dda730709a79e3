"""The terminal client in this process, against a small cluster that speaks the contract."""

import asyncio
import io
import re

import pytest
from aiohttp.test_utils import unused_port
from rich.console import Console

from client.api import Node
from client.commands import Command, List, Plain, Send
from client.terminal import Terminal
from tests.unit.client.stub_cluster import StubCluster


class Screen:
    """A terminal in this process, and what it showed."""

    def __init__(self, urls: list[str], live: bool = False) -> None:
        self._file = io.StringIO()
        console = Console(file=self._file, force_terminal=live, width=160, highlight=False)
        master, *secondaries = (Node(url, name) for url, name in zip(urls, ("master", "node1", "node2"), strict=True))
        self.terminal = Terminal(console, master, secondaries, live)

    async def after(self, *commands: Command) -> str:
        for command in commands:
            await self.terminal.obey(command)
        return self._file.getvalue()


async def test_a_message_is_answered_with_who_holds_it_and_the_time_it_took(cluster: StubCluster) -> None:
    shown = await Screen(cluster.urls).after(Send("hello", 2))
    assert re.fullmatch(
        r"Appended at offset 0, w=2, held by master \(0\.0 ms\), node1 \(1000\.0 ms\)\.\n"
        r"Execution time: 0\.\d\d seconds\n",
        shown,
    )
    assert cluster.messages == ["hello"]


async def test_w_of_any_number_works_as_in_the_seed(cluster: StubCluster) -> None:
    shown = await Screen(cluster.urls).after(Send("a", 0), Send("b", 9), Send("c", "all"), Send("d", "majority"))
    assert re.findall(r"offset (\d), w=(\d)", shown) == [("0", "1"), ("1", "3"), ("2", "3"), ("3", "2")]


async def test_a_write_not_acknowledged_in_time_is_told_and_counts_as_failed(cluster: StubCluster) -> None:
    cluster.in_time = False
    screen = Screen(cluster.urls)
    assert not await screen.terminal.obey(Send("late", "all"))
    shown = await screen.after()
    assert "Appended at offset 0, not acknowledged in time by node1, node2. Held by master.\nExecution time: " in shown


async def test_a_refusal_is_one_line(cluster: StubCluster) -> None:
    screen = Screen(cluster.urls)
    assert not await screen.terminal.obey(Send("", "all"))
    assert await screen.after() == "Bad Request: the message is empty\n"


async def test_while_a_write_blocks_seconds_and_lags_are_shown(cluster: StubCluster) -> None:
    cluster.acknowledged.clear()
    screen = Screen(cluster.urls, live=True)
    async with asyncio.TaskGroup() as tasks:
        showing = tasks.create_task(screen.after(Send("slow", 3)))
        for _ in range(3):
            await cluster.asked_for_status.acquire()
        cluster.acknowledged.set()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", showing.result())
    assert re.search(r"Waiting for w=3 +\d\.\d s   node1 lag 0   node2 lag 1 suspected", plain)
    assert "Appended at offset 0, w=3" in plain


async def test_a_wait_that_is_interrupted_says_that_the_message_may_be_there(cluster: StubCluster) -> None:
    cluster.acknowledged.clear()
    screen = Screen(cluster.urls, live=True)
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(screen.terminal.obey(Send("slow", 3)))
        await cluster.asked_for_status.acquire()
        sending.cancel()
    cluster.acknowledged.set()
    assert sending.cancelled()
    assert (await screen.after()).endswith("Stopped waiting. The message may have been appended.\n")


async def test_lists_show_every_record_and_interpret_none(cluster: StubCluster) -> None:
    cluster.messages += ["plain", "[bold]x[/bold]", "\x1b[2Jgone\n", "a" * 500]
    shown = await Screen(cluster.urls, live=True).after(List(None), List(2))
    assert "\x1b[2J" not in shown
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert lines[0] == f"master ({cluster.urls[0]}): 4 messages"
    assert lines[1:5] == [
        "   0  2026-11-22T13:51:08.123Z  epoch 1  plain",
        "   1  2026-11-22T13:51:08.123Z  epoch 1  [bold]x[/bold]",
        "   2  2026-11-22T13:51:08.123Z  epoch 1  \\x1b[2Jgone\\n",
        f"   3  2026-11-22T13:51:08.123Z  epoch 1  {'a' * 500}",
    ]
    assert lines[5] == f"node2 ({cluster.urls[2]}): 4 messages"
    assert lines[6:] == lines[1:5]


async def test_a_long_log_is_shown_by_its_newest_thousand(cluster: StubCluster) -> None:
    cluster.messages += [f"message {number}" for number in range(2500)]
    heading, first, *_, last = (await Screen(cluster.urls).after(List(1))).splitlines()
    assert heading.endswith(": 2500 messages, the first 1500 not shown")
    assert (first.endswith("message 1500"), last.endswith("message 2499")) == (True, True)


@pytest.mark.parametrize("number", [0, 3, 999999999])
async def test_a_secondary_that_is_not_known_is_one_line(cluster: StubCluster, number: int) -> None:
    shown = await Screen(cluster.urls).after(List(number))
    assert shown == f"There is no secondary {number}; this client knows 2.\n"


async def test_status_shows_every_node_and_the_one_that_is_down(cluster: StubCluster) -> None:
    cluster.messages += ["a", "b"]
    down = f"http://127.0.0.1:{unused_port()}"
    shown = await Screen([*cluster.urls[:2], down]).after(Plain.STATUS)
    words = [line.split() for line in shown.splitlines()]
    assert ["master", cluster.urls[0], "master", "1", "2", "-", "connected"] in words
    assert ["node1", cluster.urls[1], "following", "1", "2", "2", "connected"] in words
    assert f"node2 ({down}) is not reachable.\n" in shown
    assert "A majority of 3 nodes holds 2 of 2 messages." in shown
    assert ["node1", "healthy", "2", "0", "0.4", "s", "ago"] in words
    assert ["node2", "suspected", "0", "2", "never"] in words
    assert "Not configured, so not counted: node9\n" in shown
