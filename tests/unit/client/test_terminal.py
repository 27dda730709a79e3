"""The terminal client against a small cluster that speaks the contract, in-process and as `python -m client`."""

import asyncio
import io
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from rich.console import Console

from client.api import Node
from client.commands import Command, List, Plain, Send
from client.terminal import Terminal

ROOT = Path(__file__).parents[3]
NAME = web.AppKey("NAME", str)


class Cluster:
    """A master and two secondaries that share one list; a write is answered once `acknowledged` is set."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.acknowledged = asyncio.Event()
        self.acknowledged.set()
        self.asked_for_status = asyncio.Semaphore(0)
        self.in_time = True
        self.urls: list[str] = []

    def app(self, name: str) -> web.Application:
        app = web.Application()
        app[NAME] = name
        app.add_routes(
            [web.post("/", self._append), web.get("/messages", self._read), web.get("/status", self._status)]
        )
        return app

    async def _append(self, request: web.Request) -> web.Response:
        body = await request.json()
        if not body["message"]:
            problem = {"title": "Bad Request", "detail": "the message is empty", "appended": "no"}
            return web.json_response(problem, status=400, content_type="application/problem+json")
        offset = len(self.messages)
        self.messages.append(body["message"])
        await self.acknowledged.wait()
        if not self.in_time:
            names = {"acked": ["master"], "missing": ["node1", "node2"]}
            late = {"title": "Gateway Timeout", "appended": "yes", "offset": offset, **names}
            return web.json_response(late, status=504, content_type="application/problem+json")
        w = 3 if body["w"] == "all" else 2 if body["w"] == "majority" else min(max(body["w"], 1), 3)
        acks = [{"node": node, "ms": 1000.0 * number} for number, node in enumerate(("master", "node1", "node2")[:w])]
        return web.json_response({"offset": offset, "epoch": 1, "w": w, "acks": acks, "elapsed_ms": 1.0})

    async def _read(self, request: web.Request) -> web.Response:
        start, limit = int(request.query["from"]), int(request.query["limit"])
        page = [
            {"offset": offset, "epoch": 1, "time": "2026-11-22T13:51:08.123Z", "message": message}
            for offset, message in list(enumerate(self.messages))[start : start + limit]
        ]
        return web.json_response({"messages": page, "end_offset": len(self.messages)})

    async def _status(self, request: web.Request) -> web.Response:
        self.asked_for_status.release()
        name, end = request.app[NAME], len(self.messages)
        status: dict[str, object] = {
            "name": name,
            "log": "main",
            "log_id": "ab",
            "epoch": 1,
            "end_offset": end,
            "broker": "connected",
        }
        if name != "master":
            return web.json_response({**status, "role": "secondary", "acked_end": end, "state": "following"})
        secondaries = [
            {"name": "node1", "state": "healthy", "acked_end": end, "lag": 0, "last_seen_s": 0.4},
            {"name": "node2", "state": "suspected", "acked_end": 0, "lag": end, "last_seen_s": None},
        ]
        known = {"role": "master", "committed_end": end, "nodes": 3, "read_only": None, "secondaries": secondaries}
        observers = [{"name": "node9", "state": "healthy", "acked_end": end, "lag": 0, "last_seen_s": 0.1}]
        return web.json_response({**status, **known, "observers": observers})


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    cluster = Cluster()
    async with AsyncExitStack() as servers:
        for name in ("master", "node1", "node2"):
            server = await servers.enter_async_context(TestServer(cluster.app(name)))
            cluster.urls.append(str(server.make_url("")))
        yield cluster


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


async def test_a_message_is_answered_with_who_holds_it_and_the_time_it_took(cluster: Cluster) -> None:
    shown = await Screen(cluster.urls).after(Send("hello", 2))
    assert re.fullmatch(
        r"Appended at offset 0, w=2, held by master \(0\.0 ms\), node1 \(1000\.0 ms\)\.\n"
        r"Execution time: 0\.\d\d seconds\n",
        shown,
    )
    assert cluster.messages == ["hello"]


async def test_w_of_any_number_works_as_in_the_seed(cluster: Cluster) -> None:
    shown = await Screen(cluster.urls).after(Send("a", 0), Send("b", 9), Send("c", "all"), Send("d", "majority"))
    assert re.findall(r"offset (\d), w=(\d)", shown) == [("0", "1"), ("1", "3"), ("2", "3"), ("3", "2")]


async def test_a_write_not_acknowledged_in_time_is_told_and_counts_as_failed(cluster: Cluster) -> None:
    cluster.in_time = False
    screen = Screen(cluster.urls)
    assert not await screen.terminal.obey(Send("late", "all"))
    shown = await screen.after()
    assert "Appended at offset 0, not acknowledged in time by node1, node2. Held by master.\nExecution time: " in shown


async def test_a_refusal_is_one_line(cluster: Cluster) -> None:
    screen = Screen(cluster.urls)
    assert not await screen.terminal.obey(Send("", "all"))
    assert await screen.after() == "Bad Request: the message is empty\n"


async def test_while_a_write_blocks_seconds_and_lags_are_shown(cluster: Cluster) -> None:
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


async def test_a_wait_that_is_interrupted_says_that_the_message_may_be_there(cluster: Cluster) -> None:
    cluster.acknowledged.clear()
    screen = Screen(cluster.urls, live=True)
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(screen.terminal.obey(Send("slow", 3)))
        await cluster.asked_for_status.acquire()
        sending.cancel()
    cluster.acknowledged.set()
    assert sending.cancelled()
    assert (await screen.after()).endswith("Stopped waiting. The message may have been appended.\n")


async def test_lists_show_every_record_and_interpret_none(cluster: Cluster) -> None:
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


async def test_a_long_log_is_shown_by_its_newest_thousand(cluster: Cluster) -> None:
    cluster.messages += [f"message {number}" for number in range(2500)]
    heading, first, *_, last = (await Screen(cluster.urls).after(List(1))).splitlines()
    assert heading.endswith(": 2500 messages, the first 1500 not shown")
    assert (first.endswith("message 1500"), last.endswith("message 2499")) == (True, True)


@pytest.mark.parametrize("number", [0, 3, 999999999])
async def test_a_secondary_that_is_not_known_is_one_line(cluster: Cluster, number: int) -> None:
    shown = await Screen(cluster.urls).after(List(number))
    assert shown == f"There is no secondary {number}; this client knows 2.\n"


async def test_status_shows_every_node_and_the_one_that_is_down(cluster: Cluster) -> None:
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


async def run_client(urls: list[str], lines: bytes, *, options: bool = True) -> tuple[int | None, str]:
    """`python -m client` fed with lines: exit code and output; anything on stderr is a failure."""
    arguments = ["--master", urls[0], *(word for url in urls[1:] for word in ("--secondary", url))]
    environment = {"REPLOG_MASTER_URL": urls[0], "REPLOG_SECONDARY_URLS": ",".join(urls[1:])}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "client", *(arguments if options else ()),
        cwd=ROOT, env=os.environ | ({} if options else environment), stdin=PIPE, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    out, err = await process.communicate(lines)
    assert err == b""
    return process.returncode, out.decode()


@pytest.mark.parametrize("options", [True, False])
async def test_lines_on_stdin_are_obeyed_and_echoed_plainly(cluster: Cluster, options: bool) -> None:
    code, out = await run_client(cluster.urls, "w=1 a\n你好\n\nlist sub2\nstop\nnever".encode(), options=options)
    assert code == 0
    assert re.sub(r"\d\.\d\d seconds", "N seconds", out).splitlines() == [
        "> w=1 a",
        "Appended at offset 0, w=1, held by master (0.0 ms).",
        "Execution time: N seconds",
        "> 你好",
        "Appended at offset 1, w=3, held by master (0.0 ms), node1 (1000.0 ms), node2 (2000.0 ms).",
        "Execution time: N seconds",
        "> ",
        "> list sub2",
        f"node2 ({cluster.urls[2]}): 2 messages",
        "   0  2026-11-22T13:51:08.123Z  epoch 1  a",
        "   1  2026-11-22T13:51:08.123Z  epoch 1  你好",
        "> stop",
    ]
    assert cluster.messages == ["a", "你好"]


async def test_a_failed_write_is_the_exit_code_of_a_script_and_does_not_end_it(cluster: Cluster) -> None:
    code, out = await run_client(cluster.urls, b"w=1\nafter\nlist7\n")
    assert code == 1
    assert cluster.messages == ["after"]
    assert "> w=1\nBad Request: the message is empty\n> after\nAppended at offset 0" in out


async def test_with_no_node_up_every_command_is_plain_lines() -> None:
    urls = [f"http://127.0.0.1:{unused_port()}" for _ in range(3)]
    code, out = await run_client(urls, b"list\nlist2\nstatus\n")
    assert code == 0
    down = [f"{name} ({url}) is not reachable." for name, url in zip(("master", "node1", "node2"), urls, strict=True)]
    assert out.splitlines() == ["> list", down[0], "> list2", down[2], "> status", *down]
    code, _ = await run_client(urls, b"hello")
    assert code == 1


async def test_bytes_that_are_no_text_are_sent_for_the_master_to_judge(cluster: Cluster) -> None:
    code, out = await run_client(cluster.urls, b"\xff\x1b[31m\n")
    assert code == 0
    assert out.startswith("> \\udcff\\x1b[31m\n")
    assert cluster.messages == ["\udcff\x1b[31m"]


@pytest.mark.parametrize("url", ["ftp://localhost", "http://", "http://localhost:99999", "http://[::1", "http://xn--/"])
async def test_what_is_no_url_of_a_node_is_a_usage_error(url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "client", "--master", url, cwd=ROOT, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    _, err = await process.communicate(b"")
    assert process.returncode == 2
    assert b"is not a URL of a node" in err


async def test_a_person_sends_waits_interrupts_and_leaves(cluster: Cluster) -> None:
    # A test run in the background has SIGINT ignored, and children inherit that; a person's terminal does not.
    on_a_terminal = (
        "import os, pty, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL);"
        "sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    )
    client = [sys.executable, "-m", "client", "--master", cluster.urls[0], "--secondary", cluster.urls[1]]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", on_a_terminal, *client,
        cwd=ROOT, env=os.environ | {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
        stdin=PIPE, stdout=PIPE, stderr=STDOUT,
    )  # fmt: skip
    prompt = b"\x1b[?2004h"  # bracketed paste goes on: it is ready for the next line
    keyboard, screen = process.stdin, process.stdout
    assert keyboard
    assert screen
    async with asyncio.timeout(60):
        await screen.readuntil(b"Type a message")
        await screen.readuntil(prompt)
        keyboard.write(b"w=1 hello\r")
        await screen.readuntil(b"Execution time: ")
        await screen.readuntil(prompt)
        cluster.acknowledged.clear()
        keyboard.write(b"slow\r")
        await screen.readuntil(b"Waiting for ")
        await screen.readuntil(b"node2")
        keyboard.write(b"\x03")
        await screen.readuntil(b"Stopped waiting. The message may have been appended.")
        await screen.readuntil(prompt)
        keyboard.write(b"never sent\x03")
        await screen.readuntil(prompt)
        keyboard.write(b"list\r")
        await screen.readuntil(b"2 messages")
        await screen.readuntil(prompt)
        keyboard.write(b"\x04")
        await process.communicate()
    cluster.acknowledged.set()
    assert process.returncode == 0
    assert cluster.messages == ["hello", "slow"]
