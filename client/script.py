"""The scriptable client: one command, one answer, and an exit code that says what became of it."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from client import display
from client.answers import Status
from client.api import Node, status_of_each
from client.errors import NodeError, NotReachedInTimeError, RefusedError

REFUSED, NOT_REACHED, UNREACHABLE = 1, 3, 4
INTERRUPTED, BROKEN_PIPE = 130, 141
"""The exit codes that a shell shows for a program that SIGINT or SIGPIPE ended, such as tail -f."""
MAX_FILE_BYTES = 4 * 1024 * 1024
"""More is never taken in one append."""


class Output:
    """Where answers and errors go: as people read them, or as one JSON object a line."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._out = _Console(highlight=False, width=None if sys.stdout.isatty() else 160)
        self._err = _Console(highlight=False, stderr=True, width=None if sys.stderr.isatty() else 160)

    def answer(self, for_programs: object, *for_people: Any) -> None:
        """Show an answer at once, in one of its two forms. With an empty `for_programs`, only people see something."""
        if not self._as_json:
            for one in for_people:
                self._out.print(one, soft_wrap=isinstance(one, Text))
        elif for_programs:
            print(json.dumps(for_programs), flush=True)

    def failure(self, error: NodeError) -> None:
        if self._as_json:
            print(json.dumps(as_object(error)), file=sys.stderr)
        else:
            self._err.print(display.error_line(error), soft_wrap=True)

    def interrupted(self, text: str) -> None:
        if not self._as_json:
            self._err.print(Text(text))


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let the BrokenPipeError go on, which is being handled: rich would end the process with 1."""
        error = sys.exception()
        assert error is not None
        raise error


Command = Callable[[argparse.Namespace, Sequence[Node], Output], Coroutine[Any, Any, int]]
"""Takes the options and the nodes, the master first; returns the exit code. May raise NodeError."""


def run(options: argparse.Namespace, nodes: Sequence[Node]) -> int:
    """Do the command of `options`. Returns the exit code."""
    output = Output(options.json)
    command: Command = options.command
    try:
        return asyncio.run(command(options, nodes, output))
    except NodeError as error:
        output.failure(error)
        return exit_code(error)
    except KeyboardInterrupt:
        if command is append:
            output.interrupted("Stopped waiting. What was to be appended may be in the log.")
        return INTERRUPTED
    except BrokenPipeError:
        # What is still buffered would fail again when Python flushes it at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def exit_code(error: NodeError) -> int:
    if isinstance(error, NotReachedInTimeError):
        return NOT_REACHED
    if isinstance(error, RefusedError) and error.appended == "no":
        return REFUSED
    return UNREACHABLE


def as_object(error: NodeError) -> dict[str, object]:
    """An error for programs: its text and all of its fields."""
    return {"error": str(error), **vars(error)}


async def append(options: argparse.Namespace, nodes: Sequence[Node], output: Output) -> int:
    when = {"key": options.key, "if_end": options.if_end}
    async with nodes[0] as master:
        if options.file is None:
            one = await master.append(options.text, options.w, options.timeout, **when)
            output.answer(asdict(one), display.appended_line(one))
        else:
            many = await master.append_many(_lines(options), options.w, options.timeout, **when)
            output.answer(asdict(many), display.appended_many_line(many))
    return 0


async def list_log(options: argparse.Namespace, nodes: Sequence[Node], output: Output) -> int:
    async with _chosen(options, nodes) as node:
        status = await node.status()
        end = status.end_offset
        start = max(0, end + options.start) if options.start < 0 else options.start
        output.answer(None, display.log_heading(status.name, node.url, end, earlier=min(start, end)))
        async for record in node.records(start, end):
            output.answer(asdict(record), display.record_line(record, end))
    return 0


async def tail(options: argparse.Namespace, nodes: Sequence[Node], output: Output) -> int:
    async with (
        _chosen(options, nodes) as node,
        aclosing(node.follow(options.start, patience_s=float("inf"))) as records,
    ):
        async for record in records:
            output.answer(asdict(record), display.record_line(record, record.offset))
    return 0


async def wait(options: argparse.Namespace, nodes: Sequence[Node], output: Output) -> int:
    async with nodes[0] as master:
        held = await master.wait_for(options.offset, options.w, options.timeout)
    output.answer(asdict(held), display.held_line(held))
    return 0


async def status(_: argparse.Namespace, nodes: Sequence[Node], output: Output) -> int:
    answers = await status_of_each(nodes)
    known = [(node.url, answer) for node, answer in zip(nodes, answers, strict=True) if isinstance(answer, Status)]
    for url, answer in known:
        output.answer({"url": url, **asdict(answer)})
    if known:
        output.answer(None, display.nodes_table(known))
    if isinstance(answers[0], Status):
        output.answer(None, *display.master_view(answers[0]))
    failures = [answer for answer in answers if isinstance(answer, NodeError)]
    for failure in failures:
        output.failure(failure)
    return max((exit_code(failure) for failure in failures), default=0)


async def health(_: argparse.Namespace, nodes: Sequence[Node], output: Output) -> int:
    async with nodes[0] as master:
        answer = await master.health()
    output.answer(asdict(answer), *display.health_view(answer))
    return REFUSED if answer.read_only or answer.alive < answer.majority else 0


def _chosen(options: argparse.Namespace, nodes: Sequence[Node]) -> Node:
    number: int = options.node
    if number >= len(nodes):
        options.parser.error(f"there is no secondary {number}; this client knows {len(nodes) - 1}")
    return nodes[number]


def _lines(options: argparse.Namespace) -> list[str]:
    """The lines of the file to append, each a message; the last one need not end in a line feed."""
    try:
        with sys.stdin.buffer if options.file == "-" else Path(options.file).open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
        if len(raw) > MAX_FILE_BYTES:
            options.parser.error(f"{options.file}: above 4 MiB, the most that can be appended at once")
        text = raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        options.parser.error(f"{options.file}: {error}")
    lines = text.removesuffix("\n").split("\n")
    if lines == [""]:
        options.parser.error(f"{options.file}: nothing to append")
    return lines
