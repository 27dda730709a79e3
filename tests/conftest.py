"""One real RabbitMQ per test run: a container where there is a Docker engine, else a child process."""

import os
from collections.abc import Iterator

import pytest

from infra.docker_broker import IMAGE, docker_problem
from infra.local_broker import LocalBroker
from tests.container_broker import AnyBroker, ContainerBroker

# Unit and simulation tests share it; its assertions explain themselves only when pytest rewrites them.
pytest.register_assert_rewrite("tests.unit.log_contract")

_broker_used = pytest.StashKey[str]()


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyBroker]:
    """The run's RabbitMQ. A test may `restart()` it, or `kill()` and `start()` it; its addresses and data stay."""
    problem = "BROKER=local" if os.environ.get("BROKER") == "local" else docker_problem(IMAGE)
    running: AnyBroker = LocalBroker(tmp_path_factory.mktemp("broker")) if problem else ContainerBroker()
    request.config.stash[_broker_used] = f"{running.description}{f' ({problem})' if problem else ''}"
    with running:
        yield running


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if used := config.stash.get(_broker_used, None):
        terminalreporter.write_line(f"RabbitMQ: {used}")
