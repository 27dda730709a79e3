"""`python -m client`: the terminal client of a ReplicatedLog."""

import argparse
import os
import sys
from io import TextIOWrapper

from rich.console import Console
from yarl import URL

from client.api import Node
from client.terminal import Terminal, converse, follow_script


def main() -> int:
    master, secondaries = node_urls()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    interactive = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
    # Without a person there is no terminal to measure: the width only bounds tables.
    console = Console(highlight=False) if interactive else Console(highlight=False, force_terminal=False, width=160)
    terminal = Terminal(
        console,
        Node(master, "master"),
        [Node(url, f"node{number}") for number, url in enumerate(secondaries, start=1)],
        live=interactive,
    )
    if interactive:
        return converse(terminal)
    if isinstance(sys.stdin, TextIOWrapper):
        # What is not UTF-8 becomes surrogates, which the master refuses and the terminal shows as escapes.
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    return follow_script(terminal, sys.stdin or ())


def node_urls() -> tuple[str, list[str]]:
    """The master's URL and the secondaries', from the command line, else the environment, else the defaults."""
    master = os.environ.get("REPLOG_MASTER_URL", "http://localhost:8000")
    secondaries = os.environ.get("REPLOG_SECONDARY_URLS", "http://localhost:8080,http://localhost:8090")
    parser = argparse.ArgumentParser(
        prog="python -m client",
        description="Terminal client of a ReplicatedLog. Type help at its prompt.",
        epilog="Without an option its environment variable counts: REPLOG_MASTER_URL, and REPLOG_SECONDARY_URLS "
        "(comma separated). Without that: http://localhost:8000, and http://localhost:8080 and :8090.",
    )
    parser.add_argument("--master", metavar="URL", type=node_url, default=master, help="the master")
    parser.add_argument("--secondary", metavar="URL", type=node_url, action="append", help="a secondary; repeatable")
    options = parser.parse_args()
    try:
        return options.master, options.secondary or [node_url(url) for url in secondaries.split(",") if url.strip()]
    except argparse.ArgumentTypeError as error:
        parser.error(f"REPLOG_SECONDARY_URLS: {error}")


def node_url(text: str) -> str:
    """`text` as a URL of HTTP, http:// added when it has no scheme."""
    url = text.strip() if "://" in text else f"http://{text.strip()}"
    try:
        parsed = URL(url)
        is_url = parsed.scheme in ("http", "https") and bool(parsed.host)
    except ValueError:
        is_url = False
    if not is_url:
        raise argparse.ArgumentTypeError(f"{text!r} is not a URL of a node, such as http://localhost:8000")
    return url


if __name__ == "__main__":
    sys.exit(main())
