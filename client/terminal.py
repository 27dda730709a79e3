"""The terminal client: reads lines, does what they say, shows the outcome."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from rich.console import Console
from rich.live import Live
from rich.text import Text

from client import display
from client.answers import Appended, SecondaryProgress, Status
from client.api import Node, WriteConcern, status_of_each
from client.commands import HELP, WORDS, Command, List, Plain, Send, parse
from client.errors import NodeError, NotReachedInTimeError

NEWEST = 1000
"""How many records `list` shows: the newest ones."""
_POLL_S = 0.3


class Terminal:
    """Does one command at a time and shows it on `console`; `live` also shows how a write that blocks gets on."""

    def __init__(self, console: Console, master: Node, secondaries: Sequence[Node], live: bool) -> None:
        self.master = master
        self._secondaries = secondaries
        self._console = console
        self._live = live

    def say(self, line: str) -> None:
        self._console.print(Text(display.inert(line)), soft_wrap=True)

    async def obey(self, command: Command) -> bool:
        """Do what was asked, and show it. False when a message was not acknowledged as asked, else True."""
        match command:
            case Send(text, w):
                return await self._send(text, w)
            case List(secondary):
                await self._list(secondary)
            case Plain.STATUS:
                await self._status()
            case Plain.HELP:
                self._console.print(Text(HELP))
        return True

    async def _send(self, text: str, w: WriteConcern) -> bool:
        started = time.monotonic()
        outcome: Appended | NodeError
        try:
            async with self.master, asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(self._watch(w, started))
                try:
                    outcome = await self.master.append_clamped(text, w)
                except NodeError as error:
                    outcome = error
                watching.cancel()
        except asyncio.CancelledError:
            self.say("Stopped waiting. The message may have been appended.")
            raise
        if isinstance(outcome, Appended):
            self._console.print(display.appended_line(outcome), soft_wrap=True)
        else:
            self._show_error(outcome)
        if isinstance(outcome, Appended | NotReachedInTimeError):
            self.say(f"Execution time: {time.monotonic() - started:.2f} seconds")
        return isinstance(outcome, Appended)

    async def _watch(self, w: WriteConcern, started: float) -> None:
        """Show the seconds running, what is wrong with the master, and each secondary's lag, until cancelled."""
        if not self._live:
            return
        seen: tuple[SecondaryProgress, ...] = ()
        problem: str | None = None
        await asyncio.sleep(_POLL_S)  # most answers come sooner, and need no show
        with Live(
            get_renderable=lambda: display.waiting_line(time.monotonic() - started, w, seen, problem),
            console=self._console,
            refresh_per_second=10,
            transient=True,
        ):
            while True:
                try:
                    master = await self.master.status()
                    seen, problem = master.secondaries, master.read_only
                except NodeError as error:
                    seen, problem = (), str(error)
                await asyncio.sleep(_POLL_S)

    async def _list(self, secondary: int | None) -> None:
        if secondary is not None and not 1 <= secondary <= len(self._secondaries):
            self.say(f"There is no secondary {secondary}; this client knows {len(self._secondaries)}.")
            return
        node = self.master if secondary is None else self._secondaries[secondary - 1]
        try:
            async with node:
                status = await node.status()
                start = max(0, status.end_offset - NEWEST)
                heading = display.log_heading(status.name, node.url, status.end_offset, earlier=start)
                self._console.print(heading, soft_wrap=True)
                async for record in node.records(start, status.end_offset):
                    self._console.print(display.record_line(record, status.end_offset), soft_wrap=True)
        except NodeError as error:
            self._show_error(error)

    async def _status(self) -> None:
        nodes = (self.master, *self._secondaries)
        answers = await status_of_each(nodes)
        known = [(node.url, answer) for node, answer in zip(nodes, answers, strict=True) if isinstance(answer, Status)]
        if known:
            self._console.print(display.nodes_table(known))
        for answer in answers:
            if isinstance(answer, NodeError):
                self._show_error(answer)
        if isinstance(answers[0], Status):
            for line in display.master_view(answers[0]):
                self._console.print(line)

    def _show_error(self, error: NodeError) -> None:
        self._console.print(display.error_line(error), soft_wrap=True)


def converse(terminal: Terminal) -> int:
    """Prompt a person until they leave; Ctrl-C clears the line, or leaves when it is empty. Returns 0, always."""
    terminal.say(f"ReplicatedLog at {terminal.master.url}. Type a message to send it, or help.")
    words = WordCompleter(list(WORDS), sentence=True)
    prompt: PromptSession[str] = PromptSession("> ", completer=words, complete_while_typing=False)
    while True:
        try:
            command = parse(prompt.prompt())
        except EOFError:
            return 0
        except KeyboardInterrupt:
            if not prompt.default_buffer.text:
                return 0
            continue
        if command is Plain.LEAVE:
            return 0
        if command is not None:
            with suppress(KeyboardInterrupt):
                asyncio.run(terminal.obey(command))


def follow_script(terminal: Terminal, lines: Iterable[str]) -> int:
    """Obey each line after showing it. Returns the exit code: 1 when a write failed, 130 after Ctrl-C, else 0."""
    failed = False
    try:
        for line in (line.removesuffix("\n") for line in lines):
            terminal.say(f"> {line}")
            command = parse(line)
            if command is Plain.LEAVE:
                break
            if command is not None and not asyncio.run(terminal.obey(command)):
                failed = True
    except KeyboardInterrupt:
        return 130
    return int(failed)
