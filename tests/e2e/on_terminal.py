"""A command on a terminal of its own, as a person has it before them."""

import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.cluster import PATIENCE_S

CTRL_C = "\x03"
CTRL_D = "\x04"
_ESCAPE_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_=>])")


class OnTerminal:
    """`command` leads the session of a terminal, so that Ctrl-C reaches it and its children; it is killed on leaving.

    What it shows counts once: `expect` goes on after what was expected before.
    """

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> None:
        self._terminal, its_end = pty.openpty()
        termios.tcsetwinsize(its_end, (50, 200))
        # Nobody here answers the questions with which prompt_toolkit finds out where the cursor is.
        env = {**env, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}
        # A test run in the background has SIGINT ignored, and children inherit that; a person's terminal does not.
        command = ["env", "--default-signal=INT", "setsid", "--ctty", *command]
        self.process = subprocess.Popen(command, stdin=its_end, stdout=its_end, stderr=its_end, env=env, cwd=cwd)
        os.close(its_end)
        self._raw = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._terminal)

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def expect(self, text: str, *, timeout_s: float = PATIENCE_S) -> str:
        """Wait until `text` is shown. Returns everything shown since what was expected last, up to its end."""
        deadline = time.monotonic() + timeout_s
        while text not in (shown := self._shown()):
            assert self._read_more(deadline), f"not shown: {text!r}; shown: {shown!r}"
        before, _, after = shown.partition(text)
        self._raw = after.encode()
        return before + text

    def ended(self, *, timeout_s: float = PATIENCE_S) -> tuple[int, str]:
        """Wait until the command ends by itself. Returns its exit code, and what it showed since the last `expect`."""
        deadline = time.monotonic() + timeout_s
        while self._read_more(deadline):
            pass
        return self.process.wait(max(0.0, deadline - time.monotonic())), self._shown()

    def _read_more(self, deadline: float) -> bool:
        """False when the terminal was left by all who had it open, or after the deadline."""
        if not select.select([self._terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return False
        try:
            read = os.read(self._terminal, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            return False
        self._raw += read
        return bool(read)

    def _shown(self) -> str:
        """What is there as a person reads it: without colours and cursor movements. A line that is redrawn repeats."""
        return _ESCAPE_SEQUENCE.sub(b"", self._raw).decode(errors="replace").replace("\r\n", "\n")
