"""The clusters that the integration tests run on."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from replicated_log.timings import DEFAULT, Timings
from tests.cluster import IMPATIENT, Cluster, cluster_of
from tests.container_broker import AnyBroker

NewCluster = Callable[[Mapping[str, Mapping[str, str]]], AbstractAsyncContextManager[Cluster]]


@pytest.fixture
def timings(request: pytest.FixtureRequest) -> Timings:
    """Of the test's clusters; small ones where it is marked impatient."""
    return DEFAULT if request.node.get_closest_marker("impatient") is None else IMPATIENT


@pytest.fixture
def new_cluster(broker: AnyBroker, tmp_path: Path, timings: Timings) -> NewCluster:
    """Makes the cluster of a test, from the environment of each secondary; nothing is started yet."""
    return lambda secondaries: cluster_of(broker.amqp_url, tmp_path, secondaries, timings)


@pytest.fixture
async def cluster(new_cluster: NewCluster) -> AsyncIterator[Cluster]:
    """A master and two secondaries without latency, up and healthy."""
    async with new_cluster({"node1": {}, "node2": {}}) as cluster:
        yield await cluster.started()
