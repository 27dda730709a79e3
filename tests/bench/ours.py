"""The log that is measured: a master, two secondaries and their broker, as local processes on loopback."""

import asyncio
import json
from collections.abc import Coroutine, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TypeVar

from infra.broker.local import LocalBroker
from tests.bench.load import Load, LoadError
from tests.bench.wrk import POST, times, wrk
from tests.cluster import Cluster

MESSAGE = "x" * 100
BATCH = 1_000
"""Messages in one batch of NDJSON."""
SECONDARIES = ("b", "c")
ALL = 1 + len(SECONDARIES)

Result = TypeVar("Result")


class Ours:
    """A context in which a private broker, a master and two secondaries without latency run, and are healthy.

    All methods block. Everything asynchronous on ``cluster`` goes through ``run``.
    """

    def __init__(self, directory: Path, environ: Mapping[str, str] | None = None) -> None:
        """``directory`` is for the data and logs of all processes; it is made when the context is entered.

        ``environ`` is for every node.
        """
        self.directory = directory
        self._environ = environ
        self.broker: LocalBroker
        self.cluster: Cluster
        self._runner: asyncio.Runner
        self._open = ExitStack()

    @property
    def url(self) -> str:
        """The master's."""
        return self.cluster.master.url

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return self._runner.run(coroutine)

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            nodes = self.directory / "nodes"
            nodes.mkdir(parents=True)
            self.broker = opening.enter_context(LocalBroker(self.directory / "broker"))
            self._runner = opening.enter_context(asyncio.Runner())
            secondaries = {name: {"LATENCY": "0"} for name in SECONDARIES}
            self.cluster = self.run(Cluster(self.broker.amqp_url, nodes, secondaries, self._environ).__aenter__())
            opening.callback(self._close_cluster)
            self.run(self.cluster.started())
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def singles(self, w: int, clients: int, seconds: float) -> Load:
        """``clients`` at once POST one message of 100 bytes after another. Raises LoadError."""
        line = json.dumps({"message": MESSAGE, "w": w})
        return self._appended(f"{self.url}/messages", line, 1, clients, seconds)

    def batches(self, clients: int, seconds: float) -> Load:
        """``clients`` at once POST 1,000 messages of 100 bytes after another, w=3; ``rate`` is in records."""
        line = json.dumps(MESSAGE) + "\n"
        return self._appended(f"{self.url}/messages?w={ALL}", line, BATCH, clients, seconds)

    def end_offset(self) -> int:
        """The master's."""
        end_offset: int = self.run(self.cluster.master.status())["end_offset"]
        return end_offset

    def _appended(self, url: str, line: str, count: int, clients: int, seconds: float) -> Load:
        content_type = "application/json" if count == 1 else "application/x-ndjson"
        before = self.end_offset()
        arguments = (content_type, line, f"{count}")
        load = times(wrk(url, POST, clients=clients, seconds=seconds, arguments=arguments), count)
        # More is right: what was under way at the end is appended, and not counted.
        if (grown := self.end_offset() - before) < load.done:
            raise LoadError(f"{load.done} records were answered, but the log grew by {grown}")
        return load

    def _close_cluster(self) -> None:
        self.run(self.cluster.__aexit__())
