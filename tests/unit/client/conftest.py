"""What the tests of the terminal client share."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from aiohttp.test_utils import TestServer

from tests.unit.client.stub_cluster import StubCluster


@pytest.fixture
async def cluster() -> AsyncIterator[StubCluster]:
    cluster = StubCluster()
    async with AsyncExitStack() as servers:
        for name in ("master", "node1", "node2"):
            server = await servers.enter_async_context(TestServer(cluster.app(name)))
            cluster.urls.append(str(server.make_url("")))
        yield cluster
