"""One real RabbitMQ per test run: a container where there is a Docker engine, else a child process."""

import os
from collections.abc import Iterator

import pytest

from tests.container_broker import AnyBroker, own_broker

# Unit and simulation tests share it; its assertions explain themselves only when pytest rewrites them.
pytest.register_assert_rewrite("tests.unit.log_contract")

_broker_used = pytest.StashKey[str]()


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyBroker]:
    """The run's RabbitMQ. A test may `restart()` it, or `kill()` and `start()` it; its addresses and data stay."""
    running, request.config.stash[_broker_used] = own_broker(
        tmp_path_factory.mktemp("broker"), os.environ.get("BROKER")
    )
    with running:
        yield running


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if used := config.stash.get(_broker_used, None):
        terminalreporter.write_line(f"RabbitMQ: {used}")
