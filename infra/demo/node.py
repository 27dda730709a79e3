"""A node of the demo: a child process with its address, its data and its log."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, Self

from infra.broker.child_process import start_child, stop_child
from infra.broker.free_ports import free_ports, is_free
from infra.broker.get_json import get_json


@dataclass(frozen=True)
class Part:
    """A part in the demo. `role` is the program: master or secondary; `colour` an ANSI code, from 31 to 36."""

    role: str
    name: str
    port: int
    colour: int
    latency_s: int = 0


class Node:
    """A master or a secondary; it runs inside a `with`. Its log lines go to `log_file` and to `show`."""

    def __init__(
        self, part: Part, directory: Path, environment: Mapping[str, str], show: Callable[[str], None]
    ) -> None:
        """`show` is called with each log line as it comes, in another thread. If its port is taken it gets another."""
        port = part.port if is_free(part.port) else free_ports(1)[0]
        self.part = part
        self.url = f"http://127.0.0.1:{port}"
        self.log_file = directory / f"{part.name}.log"
        self._environment = {
            **environment,
            "REPLOG_NAME": part.name,
            "REPLOG_HTTP": f"127.0.0.1:{port}",
            "REPLOG_DATA": str(directory / part.name),
            "LATENCY": str(part.latency_s),
            "REPLOG_ALLOW_SIMULATION": "1",
        }
        self._show = show

    def __enter__(self) -> Self:
        self._process = start_child(
            [sys.executable, "-m", self.part.role], output=subprocess.PIPE, env=self._environment
        )
        self._reader = Thread(target=self._read_log, name=f"log of {self.part.name}")
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        stop_child(self._process, grace_s=10)
        self._reader.join()

    def runs(self) -> bool:
        return self._process.poll() is None

    def status(self) -> Any:
        """The answer of GET /status, None when there is none."""
        return get_json(f"{self.url}/status")

    def records(self) -> list[Any] | None:
        """All of the node's log; None when it does not answer."""
        records: list[Any] = []
        while True:
            page = get_json(f"{self.url}/messages?from={len(records)}&limit=1000")
            if page is None:
                return None
            records += page["messages"]
            if not page["messages"] or len(records) >= page["end_offset"]:
                return records

    def _read_log(self) -> None:
        assert self._process.stdout
        with self._process.stdout as lines, self.log_file.open("wb") as file:
            for line in lines:
                file.write(line)
                file.flush()
                self._show(line.decode(errors="replace").rstrip("\n"))
