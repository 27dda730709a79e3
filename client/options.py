"""What can be said on the command line of `python -m client`."""

import argparse
import math
import re
from collections.abc import Mapping, Sequence

from yarl import URL

from client import script
from client.api import APPEND_TIMEOUT_S, MAX_KEY, WriteConcern

MAX_TIMEOUT_S = 3600.0
_SECONDARY = re.compile(r"(?:node|sub)?([0-9]{1,9})")
_EXIT_CODES = """\
exit codes:
  0    done as asked
  1    refused: nothing was appended (health: no quorum, or the master is read-only)
  2    usage
  3    appended, but not held by as many nodes as asked within the timeout
  4    not reachable, or no answer that says what became of it
  130  stopped by Ctrl-C
Without a command, the terminal client ends with 1 when a write of its script failed."""
_NODES = """\
Without --master and --secondary, REPLOG_MASTER_URL and REPLOG_SECONDARY_URLS (comma separated) count;
without those, http://localhost:8000, and http://localhost:8080 and :8090."""
_JSON = "one JSON object a line; errors too, on standard error"


def read_options(arguments: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
    """The options, with `master` and `secondary` (a list) filled in; `command` is None for the terminal, else a
    function of client.script. Exits with 2, and says why, when they can't be used."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        if "master" not in options:
            options.master = node_url(environ.get("REPLOG_MASTER_URL", "http://localhost:8000"))
        if "secondary" not in options:
            urls = environ.get("REPLOG_SECONDARY_URLS", "http://localhost:8080,http://localhost:8090")
            options.secondary = [node_url(url) for url in urls.split(",") if url.strip()]
    except argparse.ArgumentTypeError as error:
        parser.error(f"REPLOG_MASTER_URL, REPLOG_SECONDARY_URLS: {error}")
    return options


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


def _parser() -> argparse.ArgumentParser:
    # The same before the command and behind it; no defaults, or those behind would undo what was said before.
    nodes = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    nodes.add_argument("--master", metavar="URL", type=node_url, help="the master")
    nodes.add_argument("--secondary", metavar="URL", type=node_url, action="append", help="a secondary; repeatable")
    parser = argparse.ArgumentParser(
        prog="python -m client",
        description="Client of a ReplicatedLog: without a command a terminal (type help at its prompt), with one a "
        "single answer for scripts. COMMAND --help says more.",
        epilog=f"{_NODES}\n\n{_EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[nodes],
    )
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(name: str, run: script.Command, says: str) -> argparse.ArgumentParser:
        one = commands.add_parser(
            name,
            help=says,
            description=says[0].upper() + says[1:] + ".",
            epilog=f"{_NODES}\n\n{_EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[nodes],
        )
        one.add_argument("--json", action="store_true", help=_JSON)
        one.set_defaults(command=run, parser=one)
        return one

    _add_append(command("append", script.append, "append a message, or each line of a file, and wait for w nodes"))
    listing = command("list", script.list_log, "show the log of a node")
    _add_node(listing, start=0, otherwise="the first one")
    _add_node(command("tail", script.tail, "show a log's newest messages and those to come, until Ctrl-C"), start=-10)
    waiting = command("wait", script.wait, "wait until w nodes hold a message that is in the log")
    waiting.add_argument("offset", type=_offset, metavar="OFFSET", help="its offset, as append said")
    _add_write_concern(waiting, default="all")
    command("status", script.status, "show every node, and the secondaries as the master sees them")
    command("health", script.health, "show whom the master can count on")
    return parser


def _add_append(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("text", nargs="?", metavar="TEXT", help="the message; behind -- when it begins with a dash")
    what.add_argument("--file", metavar="F", help="append each line of F (- is standard input): all of them or none")
    _add_write_concern(parser, default=None)
    parser.add_argument(
        "--key", metavar="K", type=_key, help="append once, however often this is run with the key K and the same text"
    )
    parser.add_argument(
        "--if-end", metavar="OFFSET", type=_offset, help="append only when the log ends there, else be refused"
    )


def _add_write_concern(parser: argparse.ArgumentParser, default: WriteConcern | None) -> None:
    what = "wait for so many nodes, the master included: a number, majority, or all"
    otherwise = default or "as the master is set"
    parser.add_argument("--w", metavar="W", type=_w, default=default, help=f"{what} (default: {otherwise})")
    how_long = f"for so many seconds, in which it also tries again where that is safe (default: {APPEND_TIMEOUT_S:g})"
    parser.add_argument("--timeout", metavar="S", type=_timeout, default=APPEND_TIMEOUT_S, help=how_long)


def _add_node(parser: argparse.ArgumentParser, start: int, otherwise: str | None = None) -> None:
    default = otherwise or str(start)
    parser.add_argument(
        "node", nargs="?", type=_node, default=0, help="master (the default), or 1, 2 ... (node1, node2)"
    )
    parser.add_argument(
        "--from",
        dest="start",
        metavar="OFFSET",
        type=int,
        default=start,
        help=f"begin there; a negative one counts from the end (default: {default})",
    )


def _node(text: str) -> int:
    """0 for the master, else the number of a secondary."""
    if text == "master":
        return 0
    if (secondary := _SECONDARY.fullmatch(text)) and int(secondary[1]) > 0:
        return int(secondary[1])
    raise argparse.ArgumentTypeError(f"{text!r} is no node: master, or 1 for the first secondary")


def _w(text: str) -> WriteConcern:
    match text:
        case "majority" | "all":
            return text
        case _:
            return int(text)


def _offset(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no offset")


def _timeout(text: str) -> float:
    seconds = float(text)
    if not (math.isfinite(seconds) and 0 < seconds <= MAX_TIMEOUT_S):
        raise argparse.ArgumentTypeError(f"must be above 0 seconds, up to {MAX_TIMEOUT_S:g}, not {text!r}")
    return seconds


def _key(text: str) -> str:
    if not (1 <= len(text) <= MAX_KEY and text.isascii() and text.isprintable()):
        raise argparse.ArgumentTypeError(f"must be 1 to {MAX_KEY} printable ASCII characters")
    return text
