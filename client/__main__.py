"""`python -m client`: the terminal client of a ReplicatedLog; with a command, the scriptable one."""

import os
import sys
from io import TextIOWrapper

from rich.console import Console

from client import script
from client.api import Node
from client.options import read_options
from client.terminal import Terminal, converse, follow_script


def main() -> int:
    options = read_options(sys.argv[1:], os.environ)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    master = Node(options.master, "master", wait_until_up=False)
    secondaries = [
        Node(url, f"node{number}", wait_until_up=False) for number, url in enumerate(options.secondary, start=1)
    ]
    if options.command is not None:
        return script.run(options, [master, *secondaries])
    interactive = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
    # Without a person there is no terminal to measure: the width only bounds tables.
    console = Console(highlight=False) if interactive else Console(highlight=False, force_terminal=False, width=160)
    terminal = Terminal(console, master, secondaries, live=interactive)
    if interactive:
        return converse(terminal)
    if isinstance(sys.stdin, TextIOWrapper):
        # What is not UTF-8 becomes surrogates, which the master refuses and the terminal shows as escapes.
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    return follow_script(terminal, sys.stdin or ())


if __name__ == "__main__":
    sys.exit(main())
