"""One real RabbitMQ per process of the test run: a container where there is a Docker engine, else a child process."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from infra.broker.free_ports import share_ports
from tests.container_broker import AnyBroker, own_broker

# Unit and simulation tests share it; its assertions explain themselves only when pytest rewrites them.
pytest.register_assert_rewrite("tests.unit.log_contract")

_broker_used = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--broker-only", action="store_true", help="only tests that need a broker of the kind that BROKER asks for"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Workers of pytest-xdist run side by side: none is to give a port to a node that another gives to one of its."""
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    if worker is not None:
        share_ports(int(worker["workerid"].removeprefix("gw")) % worker["workercount"], worker["workercount"])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("broker_only"):
        chosen = [item for item in items if _needs_broker(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


def _needs_broker(item: pytest.Item) -> bool:
    uses_the_runs = isinstance(item, pytest.Function) and "broker" in item.fixturenames
    return uses_the_runs or item.get_closest_marker("own_broker") is not None


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyBroker]:
    """A RabbitMQ that no other process of the run uses.

    A test may `restart()` it, or `kill()` and `start()` it; its addresses and data stay.
    """
    running, request.config.stash[_broker_used] = own_broker(
        tmp_path_factory.mktemp("broker"), os.environ.get("BROKER")
    )
    with running:
        yield running


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist tells the process that has started it which broker it used."""
    output: dict[str, str] | None = getattr(session.config, "workeroutput", None)
    if output is not None and (used := session.config.stash.get(_broker_used, None)):
        output["broker"] = used


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """The process that has started a worker of pytest-xdist hears of it; from one that has crashed it hears nothing."""
    if used := getattr(node, "workeroutput", {}).get("broker"):
        node.config.stash[_broker_used] = used


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if used := config.stash.get(_broker_used, None):
        terminalreporter.write_line(f"RabbitMQ: {used}")
