"""Following a node's log by server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from shutil import rmtree
from typing import Any

import pytest
from aiohttp import ClientPayloadError, ClientResponse

from node.http.reading.readable import MAX_STREAMS
from tests.cluster import Cluster, Node, eventually
from tests.integration.conftest import NewCluster
from tests.long_log import write_long_log

pytestmark = pytest.mark.slow

LONG = 200_000
MEMORY_BOUND_MIB = 64
"""What a reader may cost; the long log has three times that."""


class Tail:
    """Reads a stream block by block."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response

    async def block(self) -> dict[str, str]:
        """The fields of the next block; a comment has no name."""
        block = await self.response.content.readuntil(b"\n\n")
        assert block.endswith(b"\n\n"), f"the stream ended with {block!r}"
        return dict(line.split(": ", 1) for line in block.decode().removesuffix("\n\n").split("\n"))

    async def records(self, count: int) -> list[dict[str, Any]]:
        """The next records; each event has the offset of its record as id."""
        records: list[dict[str, Any]] = []
        while len(records) < count:
            block = await self.block()
            if "data" in block:
                records.append(json.loads(block["data"]))
                assert int(block["id"]) == records[-1]["offset"]
        return records

    async def messages(self, count: int) -> list[str]:
        return [record["message"] for record in await self.records(count)]

    async def rest(self) -> bytes:
        """What still comes. Raises ClientPayloadError when the stream is broken off."""
        return await self.response.content.read()


@asynccontextmanager
async def following(cluster: Cluster, node: Node, query: str = "", **headers: str) -> AsyncIterator[Tail]:
    headers["Accept"] = "text/event-stream"
    async with cluster.http.get(f"{node.url}/messages?{query}", headers=headers) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream"), await response.text()
        yield Tail(response)


@pytest.fixture
async def master(new_cluster: NewCluster) -> AsyncIterator[Cluster]:
    async with new_cluster({}) as cluster:
        yield await cluster.started()


async def test_a_tail_is_given_what_is_there_and_then_what_comes_as_it_comes(cluster: Cluster) -> None:
    await cluster.master.append("first\nof two lines")
    async with AsyncExitStack() as streams:
        tails = [
            await streams.enter_async_context(following(cluster, node, "from=0"))
            for node in cluster.nodes
            for _ in range(50)
        ]
        for tail in tails:
            assert await tail.messages(1) == ["first\nof two lines"]
        for message in ("second", "third \u2028"):
            await cluster.master.append(message)
            for tail in tails:
                assert await tail.messages(1) == [message]
    page = await cluster.master.get("/messages")
    async with following(cluster, cluster["node1"], "from=0") as tail:
        assert await tail.records(3) == page["messages"]


async def test_a_stream_begins_where_the_client_left_off_or_where_it_asks_or_at_the_end(master: Cluster) -> None:
    for n in range(5):
        await master.master.append(f"{n}")
    for query, headers, before in (
        ("", {}, 4),
        ("from=3", {}, 2),
        ("from=-2", {}, 2),
        ("from=-99", {}, -1),
        ("from=0", {"Last-Event-ID": "1"}, 1),
        ("from=4", {"Last-Event-ID": "-1"}, -1),
        ("", {"Last-Event-ID": "4"}, 4),
        ("from=7", {}, 6),
    ):
        async with following(master, master.master, query, **headers) as tail:
            assert (query, headers, await tail.block()) == (query, headers, {"id": str(before)})
            expected = [f"{n}" for n in range(before + 1, 5)]
            assert await tail.messages(len(expected)) == expected
    async with following(master, master.master, "from=6") as tail:
        await master.master.append("5")
        await master.master.append("6")
        assert await tail.messages(1) == ["6"]


async def test_who_loses_the_connection_before_the_first_record_misses_none(master: Cluster) -> None:
    async with following(master, master.master) as tail:
        last_event_id = (await tail.block())["id"]
    await master.master.append("in between")
    async with following(master, master.master, **{"Last-Event-ID": last_event_id}) as tail:
        assert await tail.messages(1) == ["in between"]


async def test_what_makes_no_sense_is_refused_and_no_stream_begins(master: Cluster) -> None:
    for query, last_event_id, code in (
        ("limit=1", "", "unknown-parameter"),
        ("from=x", "", "invalid-from"),
        ("", "0x1", "invalid-last-event-id"),
        ("", "-2", "invalid-last-event-id"),
    ):
        headers = {"Accept": "text/event-stream", "Last-Event-ID": last_event_id}
        async with master.http.get(f"{master.master.url}/messages?{query}", headers=headers) as response:
            assert (response.status, (await response.json(content_type=None))["code"]) == (400, code)


async def test_json_is_what_a_client_gets_who_does_not_prefer_a_stream(master: Cluster) -> None:
    for accept in ("*/*", "application/json, text/event-stream", "text/event-stream;q=0.5, */*", "text/html"):
        assert (await master.master.get("/messages", Accept=accept))["messages"] == []


async def test_a_tail_of_what_is_committed_sees_nothing_else(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {}, "node2": {}}) as cluster:
        await cluster.started()
        await cluster.master.append("on all", w=3)
        for node in cluster.secondaries.values():
            node.kill()
        query = "from=0&consistency=committed"
        async with (
            following(cluster, cluster.master, query) as of_committed,
            following(cluster, cluster.master, "from=0") as of_all,
        ):
            assert await of_committed.messages(1) == ["on all"]
            await cluster.master.append("on the master", w=1)
            assert await of_all.messages(2) == ["on all", "on the master"]
            # As long as nothing is committed, only a comment comes.
            assert "" in await of_committed.block()
            cluster["node2"].start()
            assert await of_committed.messages(1) == ["on the master"]
            async with following(cluster, cluster["node2"], query) as on_node2:
                assert await on_node2.messages(2) == ["on all", "on the master"]


async def test_a_reader_who_takes_nothing_costs_no_memory_and_loses_nothing(new_cluster: NewCluster) -> None:
    async with new_cluster({}) as cluster:
        write_long_log(cluster.master.data, "master", LONG, 1000)
        await cluster.started()
        before = cluster.master.peak_memory_mib()
        async with following(cluster, cluster.master, "from=0") as slow:
            assert await slow.block() == {"id": "-1"}
            # While this one is given the whole log, the other one could have been too.
            async with following(cluster, cluster.master, "from=0") as fast:
                assert [int(message) for message in await fast.messages(LONG)] == list(range(LONG))
            assert cluster.master.peak_memory_mib() < before + MEMORY_BOUND_MIB
            assert [int(message) for message in await slow.messages(LONG // 4)] == list(range(LONG // 4))


async def test_streams_end_after_a_whole_event_when_the_node_stops(cluster: Cluster) -> None:
    await cluster.master.append("message", w=3)
    for node in cluster.nodes:
        async with AsyncExitStack() as streams:
            tails = [await streams.enter_async_context(following(cluster, node, "from=0")) for _ in range(20)]
            for tail in tails:
                assert await tail.messages(1) == ["message"]
            assert await asyncio.to_thread(node.stop) == 0
            for tail in tails:
                assert await tail.rest() == b""


async def test_a_reader_who_takes_nothing_does_not_keep_the_node_from_stopping(new_cluster: NewCluster) -> None:
    """It is given up sooner than a client who waits for a write concern."""
    async with new_cluster({"node1": {}}) as cluster:
        master = cluster.master
        write_long_log(master.data, "master", LONG // 10, 1000)
        master.start()
        await eventually(master.status, "the master is up")
        async with (
            following(cluster, master, "from=0") as slow,
            following(cluster, master, "from=0") as fast,
            asyncio.TaskGroup() as tasks,
        ):
            append = tasks.create_task(master.post("message", w=2, timeout=600))
            await slow.block()
            await fast.records(LONG // 10 + 1)
            stop = tasks.create_task(asyncio.to_thread(master.stop))
            assert (await append)[0] == 504
            assert await fast.rest() == b""
            with pytest.raises(ClientPayloadError):
                await slow.rest()
            assert await stop == 0


async def test_a_stream_ends_when_another_log_takes_the_place_of_the_one_that_was_followed(
    new_cluster: NewCluster,
) -> None:
    """Only a log without records gives way: here the master loses its disk before the first one."""
    async with new_cluster({"node1": {}}) as cluster:
        await cluster.started()
        node1 = cluster["node1"]
        first = await log_id_of(node1)
        async with following(cluster, node1, "from=0") as tail:
            assert tail.response.headers["Replog-Log-Id"] == first
            assert await tail.block() == {"id": "-1"}
            cluster.master.kill()
            rmtree(cluster.master.data)
            await cluster.started()
            await cluster.master.append("of another log", w=2)
            assert b"data" not in await tail.rest()
        async with following(cluster, node1, "from=0") as tail:
            assert tail.response.headers["Replog-Log-Id"] != first
            assert await tail.messages(1) == ["of another log"]


async def test_there_are_no_more_streams_than_the_node_can_bear(master: Cluster) -> None:
    async def one_more() -> int:
        async with master.http.get(
            f"{master.master.url}/messages", headers={"Accept": "text/event-stream"}
        ) as response:
            return response.status

    async def has_room() -> bool:
        return await one_more() == 200

    async with AsyncExitStack() as streams:
        for _ in range(MAX_STREAMS):
            await streams.enter_async_context(following(master, master.master))
        assert await one_more() == 503
        async with master.http.get(
            f"{master.master.url}/messages", headers={"Accept": "application/x-ndjson"}
        ) as lines:
            assert (lines.status, lines.headers["Retry-After"]) == (503, "1")
        assert (await master.master.get("/messages"))["messages"] == []
    await eventually(has_room, "whoever leaves gives room to another")


async def log_id_of(node: Node) -> str:
    async def known() -> str | None:
        log_id: str | None = (await node.status())["log_id"]
        return log_id

    log_id: str = await eventually(known, f"{node.name} has a log")
    return log_id
