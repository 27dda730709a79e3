"""What a line typed at the terminal means."""

import re
from dataclasses import dataclass
from enum import Enum

from client.api import WriteConcern

HELP = """\
Type a message to send it; the answer comes when all nodes have it on disk.

  text              send, and wait for all nodes
  w=2 text          send, and wait for 2 nodes, the master included (also w=majority, w=all)
  list              the master's log (or: list master)
  list1, list2 ...  the log of the first, second ... secondary (or: list sub1, list sub2 ...)
  status            every node, and the secondaries as the master sees them
  help              this text
  stop              leave (or: exit, Ctrl-D)

These words are commands only when they are the whole line. To send one as a message, write its
write concern before it: w=all list. In the same way w=all w=2 text sends the message "w=2 text".
Ctrl-C stops waiting for an answer; the message may be in the log all the same."""


@dataclass(frozen=True)
class Send:
    """Append the text, and wait for `w` nodes; any number is fine, the master clamps it."""

    text: str
    w: WriteConcern


@dataclass(frozen=True)
class List:
    """Show a log: of secondary 1, 2 ... (it need not exist), or the master's."""

    secondary: int | None


class Plain(Enum):
    """The commands that take nothing."""

    STATUS = "status"
    HELP = "help"
    LEAVE = "leave"


Command = Send | List | Plain

WORDS: dict[str, Command] = {
    "list": List(None),
    "list master": List(None),
    "status": Plain.STATUS,
    "help": Plain.HELP,
    "stop": Plain.LEAVE,
    "exit": Plain.LEAVE,
}
_LIST_SECONDARY = re.compile(r"list(?: sub)?([0-9]{1,9})")
_WITH_W = re.compile(r"w=(-?[0-9]+|(?:majority|all)(?!\w)) ?(.*)", re.DOTALL)


def parse(line: str) -> Command | None:
    """The command in `line`; None when it is blank. What is no command is a message, kept as typed, blanks included."""
    words = line.strip()
    if not words:
        return None
    if words in WORDS:
        return WORDS[words]
    if of_secondary := _LIST_SECONDARY.fullmatch(words):
        return List(int(of_secondary[1]))
    if with_w := _WITH_W.fullmatch(line):
        return Send(with_w[2], _write_concern(with_w[1]))
    return Send(line, "all")


def _write_concern(w: str) -> WriteConcern:
    match w:
        case "majority" | "all":
            return w
    return int(w[:9])  # int() refuses thousands of digits; nine are above any number of nodes
