"""`python -m client` as a process against a small cluster: fed with lines, and on a terminal."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest
from aiohttp.test_utils import unused_port

from tests.unit.client.stub_cluster import StubCluster

ROOT = Path(__file__).parents[3]


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
async def test_lines_on_stdin_are_obeyed_and_echoed_plainly(cluster: StubCluster, options: bool) -> None:
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


async def test_a_failed_write_is_the_exit_code_of_a_script_and_does_not_end_it(cluster: StubCluster) -> None:
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


async def test_bytes_that_are_no_text_are_sent_for_the_master_to_judge(cluster: StubCluster) -> None:
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


async def test_a_person_sends_waits_interrupts_and_leaves(cluster: StubCluster) -> None:
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
