"""A master and secondaries as real processes on the run's broker, for the tests to talk to and to kill."""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import aiohttp

from infra.broker.child_process import start_child
from infra.broker.free_ports import free_ports
from replicated_log.timings import DEFAULT, Timings

PATIENCE_S = 60.0
"""How long a condition may take to come true before a test fails. Never a measure of speed."""
IMPATIENT = Timings.of(1, 4)
"""For nodes of a test that waits until time-outs are over. On a machine that has much to do, a node may be suspected,
or end its session, without a fault: no test has these that says how often a session ends."""


async def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Wait until ``condition`` returns something true, and return it. It may be async, and may raise ClientError."""
    last: object = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    last = condition()
                    if asyncio.iscoroutine(last):
                        last = await last
                    if last:
                        return last
                except (aiohttp.ClientError, ConnectionError) as error:
                    last = error
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"still not so after {PATIENCE_S:g} s: {what}; last seen: {last!r}") from None


class Node:
    """One node's process; stopped and started with the same data, name and port."""

    def __init__(self, cluster: "Cluster", module: str, name: str, environ: Mapping[str, str]) -> None:
        self.name = name
        self.data = cluster.directory / name
        self.log_file = cluster.directory / f"{name}.log"
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self._module = module
        self._cluster = cluster
        self.environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("REPLOG_")},
            "REPLOG_AMQP_URL": cluster.amqp_url,
            "REPLOG_LOG": cluster.log_name,
            "REPLOG_HEALTH": f"{cluster.timings.suspected_s},{cluster.timings.unhealthy_s}",
            "REPLOG_NAME": name,
            "REPLOG_DATA": str(self.data),
            "REPLOG_HTTP": f"127.0.0.1:{self.port}",
            **cluster.environ,
            **environ,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def listen_at(self, port: int) -> None:
        """From its next start on."""
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.environ["REPLOG_HTTP"] = f"127.0.0.1:{port}"

    def start(self, **environ: str) -> None:
        assert self.process is None
        with self.log_file.open("ab") as log:
            # A child that ends with the test run, however that ends, and that the run's Ctrl-C does not reach.
            self.process = start_child(
                [sys.executable, "-m", self._module], env={**self.environ, **environ}, output=log
            )

    def kill(self) -> None:
        """kill -9"""
        self._end(signal.SIGKILL)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP, and SIGCONT on leaving the context."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM)

    def exit_code(self) -> int:
        """The exit code of a process that ends by itself."""
        assert self.process is not None
        exit_code = self.process.wait(PATIENCE_S)
        self.process = None
        return exit_code

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.exit_code()

    def command(self, *arguments: str) -> str:
        """Run the module with arguments and this node's settings; what it prints. The node itself must not run."""
        assert self.process is None
        command = [sys.executable, "-m", self._module, *arguments]
        return subprocess.run(command, env=self.environ, check=True, capture_output=True, text=True).stdout

    def logged(self) -> str:
        return self.log_file.read_text()

    def peak_memory_mib(self) -> float:
        """The most memory that the process has had so far."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    async def get(self, path: str, **headers: str) -> Any:
        async with self._cluster.http.get(self.url + path, headers=headers) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def status(self) -> dict[str, Any]:
        status: dict[str, Any] = await self.get("/status")
        return status

    async def messages(self) -> list[str]:
        """The whole log, by the seed's form."""
        listed: list[str] = (await self.get("/", Accept="application/json"))["messages"]
        return listed

    async def batches(self, from_offset: int) -> bytes:
        """The stored batches from an offset on, byte for byte."""
        async with self._cluster.http.get(f"{self.url}/batches?from={from_offset}") as response:
            assert response.status == 200, await response.text()
            return await response.read()

    async def post(self, message: str, **fields: Any) -> tuple[int, dict[str, Any]]:
        """POST /messages: the status and the JSON answer, whether it went well or not."""
        body = BytesIO(json.dumps({"message": message, **fields}).encode())
        headers = {"Content-Type": "application/json"}
        async with self._cluster.http.post(f"{self.url}/messages", data=body, headers=headers) as response:
            return response.status, await response.json(content_type=None)

    async def append(self, message: str, **fields: Any) -> dict[str, Any]:
        """POST /messages, which must go well."""
        status, body = await self.post(message, **fields)
        assert status == 201, body
        return body


class Cluster:
    """The nodes of one test. Each cluster has a log name of its own, so that tests share the broker."""

    def __init__(
        self,
        amqp_url: str,
        directory: Path,
        secondaries: Mapping[str, Mapping[str, str]],
        environ: Mapping[str, str] | None = None,
        timings: Timings = DEFAULT,
    ) -> None:
        """The environment of each secondary, by name, goes before ``environ``, which is every node's."""
        self.amqp_url = amqp_url
        self.environ = environ or {}
        self.timings = timings
        self.directory = directory
        self.log_name = f"t{secrets.token_hex(4)}"
        self.master = Node(self, "master", "master", {"NODE_NAMES": ",".join(secondaries)})
        self.secondaries = {name: Node(self, "secondary", name, environ) for name, environ in secondaries.items()}
        self.http: aiohttp.ClientSession

    @property
    def nodes(self) -> list[Node]:
        return [self.master, *self.secondaries.values()]

    def __getitem__(self, name: str) -> Node:
        return self.secondaries[name]

    @property
    def longest_timeout_s(self) -> float:
        """Of all time-outs of a node with the broker; the last is aiormq's patience with a silent connection."""
        timings = self.timings
        return max(timings.connect_s, timings.publish_s, timings.silence_s, 3 * (timings.heartbeat_s + 1))

    async def outlast_timeouts(self) -> None:
        """Let something last longer than every time-out of the nodes, which is what the test is about."""
        await asyncio.sleep(self.longest_timeout_s + 1)

    async def __aenter__(self) -> Self:
        # A kept connection would outlive the process that it led to.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self.http = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(PATIENCE_S))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()
        for node in self.nodes:
            if node.process is not None:
                node.kill()

    async def started(self) -> Self:
        """Start every node that does not run, and wait until all take part."""
        for node in self.nodes:
            if node.process is None:
                node.start()
        await eventually(self.is_healthy, "every secondary is healthy")
        return self

    async def is_healthy(self) -> bool:
        secondaries = (await self.master.status())["secondaries"]
        return all(secondary["state"] == "healthy" for secondary in secondaries)

    async def converged(self) -> list[str]:
        """Wait until every node has the master's log, and return it."""
        expected = await self.master.messages()
        for node in self.secondaries.values():

            async def is_equal(node: Node = node) -> bool:
                return await node.messages() == expected

            await eventually(is_equal, f"{node.name} has the master's log")
        return expected


@asynccontextmanager
async def cluster_of(
    amqp_url: str,
    directory: Path,
    secondaries: Mapping[str, Mapping[str, str]],
    environ: Mapping[str, str] | None = None,
    timings: Timings = DEFAULT,
) -> AsyncIterator[Cluster]:
    """A cluster whose nodes are not started yet. What no node may have to tell in the end is a traceback."""
    async with Cluster(amqp_url, directory, secondaries, environ, timings) as cluster:
        yield cluster
    for node in cluster.nodes:
        if node.log_file.exists():
            assert "Traceback" not in node.logged(), node.logged()
