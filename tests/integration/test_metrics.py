"""GET /metrics: what Prometheus is told by every node."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster import Cluster, Node, eventually
from tests.integration.conftest import NewCluster

pytestmark = pytest.mark.slow

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scraped(cluster: Cluster, node: Node) -> list[Metric]:
    async with cluster.http.get(f"{node.url}/metrics") as response:
        assert (response.status, response.content_type) == (200, "text/plain")
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return list(text_string_to_metric_families(await response.text()))


class Scrape:
    """One node's samples, by name and labels."""

    def __init__(self, families: list[Metric]) -> None:
        self.samples: Samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    def __call__(self, name: str, /, **labels: str) -> float | None:
        return self.samples.get((name, frozenset(labels.items())))


async def of(cluster: Cluster, node: Node) -> Scrape:
    return Scrape(await scraped(cluster, node))


@pytest.fixture
async def used(new_cluster: NewCluster) -> AsyncIterator[Cluster]:
    """A cluster of three that has appended four messages, and refused or timed out some more."""
    async with new_cluster({"node1": {}, "node2": {"REPLOG_ALLOW_SIMULATION": "1"}}) as cluster:
        await cluster.started()
        for w in (1, 3, 3):
            await cluster.master.append("message", w=w)
        async with cluster.http.put(f"{cluster['node2'].url}/simulation", json={"ack_delay_s": 3600}) as response:
            assert response.status == 200
        assert (await cluster.master.post("late", w=3, timeout=0.3))[0] == 504
        headers = {"If-Match": '"1"'}
        async with cluster.http.post(
            f"{cluster.master.url}/messages", json={"message": "m"}, headers=headers
        ) as refused:
            assert refused.status == 412

        async def has_acked() -> bool:
            return bool((await cluster.master.status())["secondaries"][0]["acked_end"] == 4)

        await eventually(has_acked, "node1 has acked what came late")
        yield cluster


async def test_the_master_counts_appends_and_times_every_write_concern(used: Cluster) -> None:
    master = await of(used, used.master)
    assert master("replog_appends_total", outcome="appended", w="1") == 1
    assert master("replog_appends_total", outcome="appended", w="3") == 2
    assert master("replog_appends_total", outcome="write-concern-timeout", w="3") == 1
    assert master("replog_appends_total", outcome="end-mismatch", w="3") == 1
    # Each append was a batch of its own; the last of them has no third copy that is known of.
    assert master("replog_write_concern_seconds_count", w="1") == 4
    assert master("replog_write_concern_seconds_count", w="2") == 4
    assert master("replog_write_concern_seconds_count", w="3") == 3
    sums = [master("replog_write_concern_seconds_sum", w=w) or 0.0 for w in ("1", "2")]
    assert 0 < sums[0] < sums[1]
    assert master("replog_commit_seconds_count") == 4
    assert 0 < (master("replog_commit_seconds_sum") or 0) <= sums[0]
    assert master("replog_batch_records_sum") == 4
    assert (master("replog_batch_bytes_sum") or 0) > 3 * len("message") + len("late")


async def test_the_master_counts_what_it_publishes_and_hears(used: Cluster) -> None:
    master = await of(used, used.master)
    assert master("replog_published_deliveries_total", kind="batches") == 4
    assert master("replog_published_batches_total") == 4
    assert (master("replog_published_deliveries_total", kind="beat") or 0) >= 1
    assert master("replog_refused_deliveries_total") == 0
    assert (master("replog_acks_received_total", secondary="node1") or 0) >= 3
    assert master("replog_secondary_lag_records", secondary="node1") == 0
    assert master("replog_secondary_lag_records", secondary="node2") == 1
    assert master("replog_secondary_acked_end_offset", secondary="node2") == 3
    assert master("replog_secondary_health", secondary="node1", state="healthy") == 1
    assert master("replog_secondary_health", secondary="node1", state="unhealthy") == 0
    assert (master("replog_secondary_silence_seconds", secondary="node1") or 0) >= 0
    assert master("replog_waiting_clients") == 0
    assert (master("replog_waiting_readers"), master("replog_streams")) == (0, 0)
    assert master("replog_read_only") == 0
    assert master("replog_poison_total") == 0
    assert master("replog_node_info", name="master", role="master", log=used.log_name) == 1


async def test_a_secondary_counts_what_it_was_sent_and_what_it_made_of_it(used: Cluster) -> None:
    node1, node2 = used["node1"], used["node2"]
    scrape = await of(used, node1)
    assert scrape("replog_commit_seconds_count") is not None
    assert scrape("replog_batch_records_sum") == 4
    assert (scrape("replog_end_offset"), scrape("replog_acked_end_offset"), scrape("replog_lag_records")) == (4, 4, 0)
    assert scrape("replog_state", state="following") == 1
    assert (scrape("replog_acks_sent_total") or 0) >= 4
    for name in ("duplicates", "gaps", "poison"):
        assert scrape(f"replog_{name}_total") == 0
    assert (await of(used, node2))("replog_acked_end_offset") == 3


async def test_fetches_are_counted_on_both_sides(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {}}) as cluster:
        cluster.master.start()

        async def has_appended() -> bool:
            return (await cluster.master.post("before node1 was there", w=1))[0] == 201

        await eventually(has_appended, "the master takes appends")
        cluster["node1"].start()
        await cluster.converged()
        assert ((await of(cluster, cluster["node1"]))("replog_fetches_total") or 0) >= 1
        assert ((await of(cluster, cluster.master))("replog_fetches_received_total", secondary="node1") or 0) >= 1


async def test_a_waiting_client_is_counted_while_it_waits(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {}}) as cluster:
        cluster.master.start()
        await eventually(cluster.master.status, "the master answers")

        async def is_counted() -> bool:
            return (await of(cluster, cluster.master))("replog_waiting_clients") == 1

        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(cluster.master.append("for node1", w=2))
            await eventually(is_counted, "the client is counted")
            cluster["node1"].start()
            await waiting
        assert (await of(cluster, cluster.master))("replog_waiting_clients") == 0


async def test_an_append_whose_client_leaves_is_counted_and_waits_no_longer(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {}}) as cluster:
        cluster.master.start()
        await eventually(cluster.master.status, "the master answers")
        seen: list[float | None] = []

        async def is_waiting(number: int) -> bool:
            scrape = await of(cluster, cluster.master)
            seen.append(scrape("replog_appends_total", outcome="client-gone", w="2"))
            return scrape("replog_waiting_clients") == number

        async with asyncio.TaskGroup() as tasks:
            leaving = tasks.create_task(cluster.master.append("for node1", w=2))
            await eventually(lambda: is_waiting(1), "the client is counted")
            leaving.cancel()
            await eventually(lambda: is_waiting(0), "the client is not waited for")
        assert (seen[0], seen[-1]) == (None, 1)


async def test_one_name_has_one_kind_and_the_same_labels_on_every_node(used: Cluster) -> None:
    kinds: dict[str, tuple[str, frozenset[str]]] = {}
    for node in used.nodes:
        for family in await scraped(used, node):
            for sample in family.samples:
                known = kinds.setdefault(sample.name, (family.type, frozenset(sample.labels)))
                assert known == (family.type, frozenset(sample.labels)), sample.name
    assert all(name.startswith(("replog_", "process_")) for name in kinds)
