"""What the demo shows: three nodes, three messages at three write concerns, three equal logs."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from infra.broker.broker import Broker, wait_until
from infra.broker.child_process import tied
from infra.demo.node import Node, Part
from infra.demo.screen import Screen

SCRIPT = """\
w=1 The first message waits for one node, the master
w=2 The second message waits for two nodes, the faster secondary among them
w=3 The third message waits for all three nodes
list
list1
list2
"""

CAST = (
    Part("master", "master", port=8000, colour=36),
    Part("secondary", "node1", port=8080, colour=32, latency_s=3),
    Part("secondary", "node2", port=8090, colour=33, latency_s=1),
)


class DemoError(RuntimeError):
    """The demo did not show what it should. The text says what went wrong."""


@contextmanager
def nodes(broker: Broker, directory: Path, environment: Mapping[str, str], screen: Screen) -> Iterator[Sequence[Node]]:
    """Run the cast, the master first, with data in `directory`, until the context is left."""
    settings = {name: value for name, value in environment.items() if not name.startswith("REPLOG_")}
    settings["REPLOG_AMQP_URL"] = broker.amqp_url
    settings["NODE_NAMES"] = ",".join(part.name for part in CAST if part.role == "secondary")
    with ExitStack() as running:
        yield [
            running.enter_context(
                Node(part, directory, settings, partial(screen.show_log_line, part.name, part.colour))
            )
            for part in CAST
        ]


def wait_until_healthy(nodes: Sequence[Node]) -> None:
    """Wait until the master counts on all of its secondaries. Raises DemoError after 60 s, or when a node ends."""
    master = nodes[0]

    def healthy() -> bool:
        status = master.status()
        return status is not None and all(secondary["state"] == "healthy" for secondary in status["secondaries"])

    if not wait_until(healthy, while_=lambda: all(node.runs() for node in nodes), timeout_s=60):
        ended = [node.part.name for node in nodes if not node.runs()]
        raise DemoError(f"{', '.join(ended)} ended" if ended else "the nodes did not find each other within 60 s")


def run_client(nodes: Sequence[Node], script: str | None = None) -> int:
    """Run the terminal client, on `script` or else on the terminal; returns its exit code."""
    command = [sys.executable, "-m", "client", "--master", nodes[0].url]
    for secondary in nodes[1:]:
        command += ["--secondary", secondary.url]
    return subprocess.run(tied(command), input=script, text=True, check=False).returncode


def compare_logs(nodes: Sequence[Node]) -> int:
    """The number of records that all nodes have, identical and in the same order. Raises DemoError when they differ."""

    def equal() -> bool:
        logs = [node.records() for node in nodes]
        return logs[0] is not None and all(log == logs[0] for log in logs)

    if not wait_until(equal, while_=lambda: all(node.runs() for node in nodes), timeout_s=10):
        raise DemoError("the nodes' logs differ")
    return len(nodes[0].records() or [])
