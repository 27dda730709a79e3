"""The clusters that the integration tests run on."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from infra.rabbitmq.choice import FAST, PLAIN, WAYS
from replicated_log.timings import DEFAULT, Timings
from tests.cluster import IMPATIENT, Cluster, cluster_of
from tests.container_broker import AnyBroker

NewCluster = Callable[[Mapping[str, Mapping[str, str]]], AbstractAsyncContextManager[Cluster]]


BOTH_WAYS = pytest.mark.parametrize("amqp", [FAST, pytest.param(PLAIN, marks=pytest.mark.slow)])
BOTH_WAYS_ALWAYS = pytest.mark.parametrize("amqp", WAYS)
"""Also where tests that take long are left out."""


@pytest.fixture
def amqp() -> str:
    """Which way the nodes' deliveries go. What is marked with BOTH_WAYS, a test or a whole module, runs with each."""
    return FAST


@pytest.fixture
def timings(request: pytest.FixtureRequest) -> Timings:
    """Of the test's clusters; small ones where it is marked impatient."""
    return DEFAULT if request.node.get_closest_marker("impatient") is None else IMPATIENT


@pytest.fixture
def new_cluster(broker: AnyBroker, tmp_path: Path, amqp: str, timings: Timings) -> NewCluster:
    """Makes the cluster of a test, from the environment of each secondary; nothing is started yet."""
    return lambda secondaries: cluster_of(broker.amqp_url, tmp_path, secondaries, {"REPLOG_AMQP": amqp}, timings)


@pytest.fixture
async def cluster(new_cluster: NewCluster) -> AsyncIterator[Cluster]:
    """A master and two secondaries without latency, up and healthy."""
    async with new_cluster({"node1": {}, "node2": {}}) as cluster:
        yield await cluster.started()
