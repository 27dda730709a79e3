"""The real docker-compose.yml: built, brought up, used, and taken down again."""

import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.broker.broker import wait_until
from infra.broker.docker import IMAGE, docker_problem
from infra.broker.free_ports import is_free
from infra.broker.get_json import get_json

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NODES = {"master": 8000, "node1": 8080, "node2": 8090}
MANAGEMENT_PORT = 15672
START_TIMEOUT_S = 180
PATIENCE_S = 60


@pytest.fixture(scope="module", autouse=True)
def composed(fixed_ports: None) -> Iterator[None]:
    """All services up and healthy, under a project name of this run's own, so that no volume is another's."""
    if os.environ.get("BROKER") == "local":
        pytest.skip("BROKER=local")
    for image in (IMAGE, base_image()):
        if problem := docker_problem(image):
            pytest.skip(problem)
    if obstacles := in_the_way():
        pytest.fail(f"docker-compose.yml cannot be tried while there is {', '.join(obstacles)}")
    compose = ("compose", "--project-name", f"replog-e2e-{secrets.token_hex(4)}")
    try:
        if problem := failure(*compose, "up", "--build", "--wait", "--wait-timeout", str(START_TIMEOUT_S)):
            logs = docker(*compose, "logs", "--no-color", "--tail", "30").stdout
            pytest.fail(f"docker compose up: {problem}\n{logs}")
        yield
    finally:
        problem = failure(*compose, "down", "--volumes", "--timeout", "5")
    assert problem is None


def test_a_message_at_each_write_concern_reaches_every_node() -> None:
    assert append("Msg1", w=1) == ["master"]
    assert append("Msg2", w=2) == ["master", "node2"]
    assert append("Msg3", w=3) == ["master", "node1", "node2"]
    for node in NODES:
        assert messages(node) == ["Msg1", "Msg2", "Msg3"]


def test_docker_logs_shows_each_nodes_own_lines() -> None:
    for node in NODES:
        assert re.search(r"serving HTTP .*\n(?:.*\n)*.*connected to the broker", docker("logs", node).stdout)
    assert "following the master" in docker("logs", "node1").stdout


def test_the_management_ui_shows_the_exchange() -> None:
    url = f"http://127.0.0.1:{MANAGEMENT_PORT}/api/exchanges/%2F/replog.main.log"
    exchange = get_json(url, ("guest", "guest"))
    assert (exchange["type"], exchange["durable"]) == ("fanout", True)


def test_a_killed_node_catches_up_when_it_is_started_again() -> None:
    assert failure("kill", "node1") is None
    assert append("while node1 is away", w=2) == ["master", "node2"]
    assert get_json(f"{url('node1')}/status") is None
    assert failure("start", "node1") is None
    caught_up = wait_until(lambda: messages("node1") == messages("master"), while_=lambda: True, timeout_s=PATIENCE_S)
    assert caught_up, docker("logs", "node1").stdout
    assert messages("node1")[-1] == "while node1 is away"
    assert append("node1 counts again", w=3) == ["master", "node1", "node2"]


def test_every_node_stops_cleanly_and_none_runs_as_root() -> None:
    for node in NODES:
        assert docker("exec", node, "id", "-u").stdout != "0\n"
        assert failure("stop", node) is None
        assert docker("inspect", "--format", "{{.State.ExitCode}}", node).stdout == "0\n"


def base_image() -> str:
    (image,) = re.findall(r"^FROM (\S+)$", (ROOT / "infra" / "Dockerfile").read_text(), re.MULTILINE)
    return str(image)


def in_the_way() -> list[str]:
    """What others have that the services need: container names and ports are fixed."""
    taken = docker("ps", "--all", "--format", "{{.Names}}").stdout.split()
    return [
        *(f"a container named {name}" for name in ("rabbitmq", *NODES) if name in taken),
        *(f"a listener on port {port}" for port in (*NODES.values(), MANAGEMENT_PORT) if not is_free(port)),
    ]


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`docker arguments`, run where docker-compose.yml is; stdout has stderr too."""
    return subprocess.run(
        ["docker", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        check=False,
    )


def failure(*arguments: str) -> str | None:
    """Run `docker arguments`; the end of what it said when it failed, else None."""
    done = docker(*arguments)
    return None if done.returncode == 0 else done.stdout[-3000:]


def url(node: str) -> str:
    return f"http://127.0.0.1:{NODES[node]}"


def append(message: str, w: int) -> list[str]:
    """Append by the master; the names of the nodes that held the message when it was answered."""
    with requests.Session() as http:
        http.trust_env = False  # a proxy in the environment knows nothing of this machine's loopback
        response = http.post(f"{url('master')}/messages", json={"message": message, "w": w}, timeout=PATIENCE_S)
    assert response.status_code == 201, response.text
    return sorted(ack["node"] for ack in response.json()["acks"])


def messages(node: str) -> list[str]:
    """The node's log; empty when it does not answer."""
    page: dict[str, Any] = get_json(f"{url(node)}/messages") or {"messages": []}
    return [record["message"] for record in page["messages"]]
