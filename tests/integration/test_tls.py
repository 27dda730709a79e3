"""Nodes reach their broker over TLS, and only one whose certificate they trust."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from yarl import URL

from replicated_log.timings import Timings
from tests.cluster import Cluster, cluster_of, eventually
from tests.container_broker import AnyBroker
from tests.integration.conftest import BOTH_WAYS, NewCluster
from tests.tcp_proxy import TcpProxy

pytestmark = [pytest.mark.slow, BOTH_WAYS]

CERTIFICATES: Final = Path(__file__).parents[1] / "certificates"
TRUST: Final = {"cafile": str(CERTIFICATES / "authority.pem")}


@pytest.fixture
async def proxy(broker: AnyBroker) -> AsyncIterator[TcpProxy]:
    """The way to the broker over TLS, with a certificate for 127.0.0.1 and for no other name."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(CERTIFICATES / "broker.pem")
    async with TcpProxy(broker.amqp_url, tls).running() as proxy:
        yield proxy


@pytest.fixture
async def cluster(proxy: TcpProxy, tmp_path: Path, amqp: str, timings: Timings) -> AsyncIterator[Cluster]:
    """A master and two secondaries, up and healthy, all of which reach the broker over TLS."""
    url = URL(proxy.url).with_query(TRUST)
    async with cluster_of(str(url), tmp_path, {"node1": {}, "node2": {}}, {"REPLOG_AMQP": amqp}, timings) as cluster:
        yield await cluster.started()


async def test_every_node_holds_what_is_appended_over_tls(cluster: Cluster, proxy: TcpProxy) -> None:
    await eventually(lambda: len(proxy.connections()) == 2 * len(cluster.nodes), "every node comes by the proxy")
    await cluster.master.append("small", w="all")
    await cluster.master.append("large".ljust(1 << 20), w="all")
    # More than the buffers on a slow way can take.
    proxy.bytes_per_s = 20_000_000
    many = [f"{n}".ljust(1 << 20) for n in range(20)]
    async with asyncio.TaskGroup() as clients:
        for message in many:
            clients.create_task(cluster.master.append(message, w="all"))
    small, large, *others = await cluster.converged()
    assert (small, large, sorted(others)) == ("small", "large".ljust(1 << 20), sorted(many))


@pytest.mark.impatient
async def test_a_tls_connection_that_carries_nothing_any_more_is_replaced(cluster: Cluster, proxy: TcpProxy) -> None:
    proxy.hold_existing()
    await cluster.master.append("over new connections", w="all")
    assert await cluster.converged() == ["over new connections"]


async def test_a_tls_connection_that_is_cut_is_replaced(cluster: Cluster, proxy: TcpProxy) -> None:
    proxy.cut()
    await cluster.master.append("over new connections", w="all")
    assert await cluster.converged() == ["over new connections"]


async def stays_away(new_cluster: NewCluster, url: URL, reason: str) -> None:
    """A secondary that has the broker at ``url`` says why it does not connect, tries on, and keeps nobody waiting."""
    environ = {"REPLOG_AMQP_URL": str(url), "REPLOG_LOG_LEVEL": "debug"}
    async with new_cluster({"node1": {}, "node2": environ}) as cluster:
        for node in cluster.nodes:
            node.start()
        await eventually(cluster.master.status, "the master serves")
        await cluster.master.append("without node2", w=2)
        node2 = cluster["node2"]

        def attempts() -> int:
            lines = [line for line in node2.logged().splitlines() if "no session with the broker" in line]
            assert all(reason in line for line in lines), lines
            return len(lines)

        await eventually(lambda: attempts() >= 5, "node2 tries again and again")
        assert (await node2.status())["broker"] == "disconnected"
        assert await node2.messages() == []


async def test_a_node_that_does_not_know_the_authority_does_not_connect(
    new_cluster: NewCluster, proxy: TcpProxy
) -> None:
    await stays_away(new_cluster, URL(proxy.url), "certificate verify failed: unable to get local issuer certificate")
    assert not proxy.connections()


async def test_a_node_does_not_connect_to_a_broker_with_the_certificate_of_another(
    new_cluster: NewCluster, proxy: TcpProxy
) -> None:
    url = URL(proxy.url).with_host("localhost").with_query(TRUST)
    await stays_away(new_cluster, url, "certificate verify failed: Hostname mismatch")
    assert not proxy.connections()


async def test_a_node_that_is_to_use_tls_does_not_do_without(new_cluster: NewCluster, broker: AnyBroker) -> None:
    await stays_away(new_cluster, URL(broker.amqp_url).with_scheme("amqps").with_query(TRUST), "[SSL")
