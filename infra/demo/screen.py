"""The demo's screen: its own lines, and the nodes' log lines under their names."""

import sys
from threading import Lock


class Screen:
    """Whole lines on stdout, from any thread. Log lines can be hidden, so as not to disturb a prompt."""

    def __init__(self) -> None:
        self.logs_hidden = False
        self._lock = Lock()

    def say(self, text: str = "") -> None:
        with self._lock:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    def show_log_line(self, node: str, colour: int, line: str) -> None:
        """`line` after the node's name; on a terminal in `colour`, an ANSI code from 31 to 36."""
        if self.logs_hidden:
            return
        prefix = f"{node:<6} |"
        self.say(f"\x1b[{colour}m{prefix}\x1b[0m {line}" if sys.stdout.isatty() else f"{prefix} {line}")
