"""Reading a node's log: pages, lines, single records; what is committed, and what is still to come."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing

import pytest
from aiohttp import ClientPayloadError

from replicated_log.storage.log_reader import database
from tests.cluster import Cluster, eventually
from tests.integration.conftest import NewCluster
from tests.integration.reading import offsets, problem, read, read_offsets
from tests.long_log import write_long_log

LINES = {"Accept": "application/x-ndjson"}
LONG = 200_000
MEMORY_BOUND_MIB = 64
"""What a reader may cost; the long log has three times that."""


@pytest.fixture
async def master(new_cluster: NewCluster) -> AsyncIterator[Cluster]:
    async with new_cluster({}) as cluster:
        yield await cluster.started()


async def test_a_page_begins_at_an_offset_or_so_many_records_before_the_end(master: Cluster) -> None:
    for n in range(5):
        await master.master.append(f"message {n}")
    for query, expected in {
        "": [0, 1, 2, 3, 4],
        "from=3": [3, 4],
        "from=1&limit=2": [1, 2],
        "from=5": [],
        "from=99": [],
        "from=-2": [3, 4],
        "from=-4&limit=2": [1, 2],
        "from=-99": [0, 1, 2, 3, 4],
    }.items():
        page = await master.master.get(f"/messages?{query}")
        assert (query, offsets(page)) == (query, expected)
        assert (page["end_offset"], page["committed_end"]) == (5, 5)
    assert page["messages"][1].keys() == {"offset", "epoch", "time", "message"}


@pytest.mark.parametrize(
    ("path", "code", "named"),
    [
        ("/messages?fro=1", "unknown-parameter", "'fro'"),
        ("/messages?w=1", "unknown-parameter", "'w'"),
        ("/messages?from=1&from=2", "repeated-parameter", "from"),
        ("/messages?from=x", "invalid-from", "'x'"),
        ("/messages?from=1e3", "invalid-from", "'1e3'"),
        ("/messages?from=99999999999999999999", "invalid-from", "99999"),
        ("/messages?limit=0", "invalid-limit", "'0'"),
        ("/messages?limit=1001", "invalid-limit", "'1001'"),
        ("/messages?limit=%D9%A1", "invalid-limit", "limit"),
        ("/messages?consistency=strong", "invalid-consistency", "'strong'"),
        ("/messages?min_offset=-1", "invalid-min-offset", "'-1'"),
        ("/messages?min_offset=0&timeout=0", "invalid-timeout", "'0'"),
        ("/messages?min_offset=0&timeout=3600.1", "invalid-timeout", "'3600.1'"),
        ("/messages?min_offset=0&timeout=nan", "invalid-timeout", "'nan'"),
        ("/messages/0?from=0", "unknown-parameter", "'from'"),
    ],
)
async def test_what_makes_no_sense_in_a_query_is_refused_by_name(
    master: Cluster, path: str, code: str, named: str
) -> None:
    status, refusal = await problem(master, master.master, path)
    assert (status, refusal["code"], refusal["retry"]) == (400, code, "no")
    assert named in refusal["detail"]
    assert "appended" not in refusal


async def test_lines_are_the_records_of_the_pages_one_in_each(master: Cluster) -> None:
    for message in ("plain", "two\nlines\r\n", "\u2028 \u00e9t\u00e9 \U0001f40d \x00", '{"json": "\\"}'):
        await master.master.append(message)
    page = await master.master.get("/messages")
    response, body = await read(master, master.master, "/messages", **LINES)
    assert (response.status, response.content_type) == (200, "application/x-ndjson")
    assert body.count(b"\n") == 4
    assert [json.loads(line) for line in body.splitlines()] == page["messages"]
    for query, expected in {"from=-3&limit=2": [1, 2], "from=3&limit=99999": [3], "from=4": []}.items():
        _, body = await read(master, master.master, f"/messages?{query}", **LINES)
        assert [json.loads(line)["offset"] for line in body.splitlines()] == expected


@pytest.mark.slow
async def test_lines_of_a_long_log_cost_no_memory_however_slow_the_reader(new_cluster: NewCluster) -> None:
    async with new_cluster({}) as cluster:
        write_long_log(cluster.master.data, "master", LONG, 1000)
        await cluster.started()
        before = cluster.master.peak_memory_mib()
        url = f"{cluster.master.url}/messages"
        async with cluster.http.get(url, headers=LINES) as slow:
            assert json.loads(await slow.content.readline())["offset"] == 0
            # While this one is given the whole log, the other one could have been too.
            async with cluster.http.get(url, headers=LINES) as fast:
                expected = 0
                async for line in fast.content:
                    record = json.loads(line)
                    assert (record["offset"], int(record["message"])) == (expected, expected)
                    expected += 1
                assert expected == LONG
            assert cluster.master.peak_memory_mib() < before + MEMORY_BOUND_MIB
            assert json.loads(await slow.content.readline())["offset"] == 1


async def test_head_gives_the_headers_and_waits_as_get_does(master: Cluster) -> None:
    await master.master.append("message")
    status = await master.master.status()
    for accept in ("application/json", "application/x-ndjson", "text/event-stream"):
        response, body = await read(master, master.master, "/messages?min_offset=0", method="HEAD", Accept=accept)
        assert (response.status, response.content_type, body) == (200, accept, b"")
        assert response.headers["Replog-End-Offset"] == "1"
        assert response.headers["Replog-Epoch"] == "1"
        assert response.headers["Replog-Log-Id"] == status["log_id"]
    response, _ = await read(master, master.master, "/messages?min_offset=1&timeout=0.1", method="HEAD")
    assert response.status == 504


async def test_a_record_never_changes_so_whoever_has_it_need_not_ask_again(cluster: Cluster) -> None:
    await cluster.master.append("message", w=3)
    log_id = (await cluster.master.status())["log_id"]
    for node in cluster.nodes:
        response, body = await read(cluster, node, "/messages/0")
        assert (response.status, json.loads(body)["message"]) == (200, "message")
        etag = response.headers["ETag"]
        assert etag == f'"{log_id}-0"'
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert response.headers["Replog-Log-Id"] == log_id
        assert (await node.get(f"/messages/{'0' * 30}"))["offset"] == 0, "zeros before a number mean nothing"
        for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            response, body = await read(cluster, node, "/messages/0", **{"If-None-Match": known})
            assert (response.status, body, response.headers["ETag"]) == (304, b"", etag)
        response, body = await read(cluster, node, "/messages/0", **{"If-None-Match": f'"{log_id}-1"'})
        assert (response.status, json.loads(body)["offset"]) == (200, 0)


async def test_beyond_the_end_there_is_no_record_yet_and_nobody_may_remember_that(master: Cluster) -> None:
    await master.master.append("message")
    for offset in ("1", "9" * 30):
        response, body = await read(master, master.master, f"/messages/{offset}", **{"If-None-Match": "*"})
        assert (response.status, json.loads(body)["code"]) == (404, "no-such-record")
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Replog-End-Offset"] == "1"
        assert "ETag" not in response.headers


async def test_a_node_without_a_log_says_so_by_saying_nothing(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {}}) as cluster:
        cluster["node1"].start()
        page = await eventually(lambda: cluster["node1"].get("/messages"), "node1 answers")
        assert page == {"messages": [], "end_offset": 0, "committed_end": 0}
        response, _ = await read(cluster, cluster["node1"], "/messages")
        assert response.headers["Replog-End-Offset"] == "0"
        assert not {"Replog-Log-Id", "Replog-Epoch"} & response.headers.keys()


async def test_one_reads_ones_writes_on_a_secondary_that_is_late(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {"REPLOG_PERSIST_DELAY": "1"}}) as cluster:
        await cluster.started()
        for n, form in enumerate(("/messages?from=-1&", "/messages/{offset}?")):
            offset = (await cluster.master.append(f"message {n}", w=1))["offset"]
            path = f"{form.format(offset=offset)}min_offset={offset}&timeout=60"
            answer = await cluster["node1"].get(path)
            assert (answer["messages"][-1] if "messages" in answer else answer)["message"] == f"message {n}"
        offset = (await cluster.master.append("message 2", w=1))["offset"]
        _, body = await read(cluster, cluster["node1"], f"/messages?min_offset={offset}&timeout=60", **LINES)
        assert [json.loads(line)["offset"] for line in body.splitlines()] == [0, 1, 2]


async def test_what_does_not_come_in_time_is_said_to_be_not_there_yet(cluster: Cluster) -> None:
    await cluster.master.append("message", w=3)
    for node in cluster.nodes:
        for path in ("/messages?", "/messages/1?"):
            status, refusal = await problem(cluster, node, f"{path}min_offset=1&timeout=0.1")
            assert (status, refusal["code"], refusal["retry"]) == (504, "not-there-yet", "safe")
            assert (refusal["end_offset"], "appended" in refusal) == (1, False)


@pytest.mark.impatient
async def test_committed_is_what_a_majority_has_acked_wherever_one_asks(new_cluster: NewCluster) -> None:
    """node1 has the record on disk long before anybody counts it: it acks an hour later."""
    async with new_cluster({"node1": {"LATENCY": "3600"}, "node2": {}}) as cluster:
        cluster.master.start()
        cluster["node1"].start()
        nodes = [cluster.master, cluster["node1"]]
        await eventually(cluster.master.status, "the master is up")
        await cluster.master.append("message", w=1)
        await eventually(lambda: read_offsets(cluster["node1"], "min_offset=0"), "node1 has the record")
        for node in nodes:
            assert await read_offsets(node, "") == [0]
            assert await read_offsets(node, "consistency=local") == [0]
            three_beats = f"min_offset=0&timeout={3 * cluster.timings.beat_s}"
            status, refusal = await problem(cluster, node, f"/messages?consistency=committed&{three_beats}")
            assert (status, refusal["code"]) == (504, "not-there-yet")
            assert (refusal["end_offset"], refusal["committed_end"]) == (1, 0)
            page = await node.get("/messages?consistency=committed&from=-1")
            assert (page["messages"], page["end_offset"], page["committed_end"]) == ([], 1, 0)
            assert (await node.get("/messages"))["committed_end"] == 0
            assert (await read(cluster, node, "/messages?consistency=committed", **LINES))[1] == b""
            assert (await problem(cluster, node, "/messages/0?consistency=committed"))[0] == 404
        async with asyncio.TaskGroup() as readers:
            waits = [
                readers.create_task(read_offsets(node, "consistency=committed&min_offset=0&timeout=60"))
                for node in nodes
            ]
            cluster["node2"].start()
        assert [wait.result() for wait in waits] == [[0], [0]]


async def test_who_waits_is_told_that_the_node_stops(cluster: Cluster) -> None:
    for node in cluster.nodes:
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(b"GET /messages?min_offset=0&timeout=3600 HTTP/1.1\r\nHost: node\r\n\r\n")
        # It has been heard once another request, which came after it, is answered.
        await problem(cluster, node, "/messages?min_offset=0&timeout=0.1")
        assert await asyncio.to_thread(node.stop) == 0
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert json.loads(answer.split(b"\r\n\r\n")[1])["code"] == "stopping"
        writer.close()
        await writer.wait_closed()


async def test_what_is_damaged_is_not_served_and_what_began_before_it_is_broken_off(new_cluster: NewCluster) -> None:
    async with new_cluster({}) as cluster:
        node = cluster.master
        write_long_log(node.data, "master", 10_000, 1000)
        await cluster.started()
        with closing(sqlite3.connect(database(node.data))) as connection:
            connection.execute(
                "UPDATE batches SET data = CAST(replace(data, '5555', '5556') AS BLOB) WHERE first_offset = 5000"
            )
            connection.commit()
        for path, accept in (
            ("/", "text/plain"),
            ("/", "application/json"),
            ("/messages", "application/x-ndjson"),
            ("/messages?from=0", "text/event-stream"),
        ):
            with pytest.raises(ClientPayloadError):
                await read(cluster, node, path, Accept=accept)
        for path in ("/messages/5000", "/messages?from=5000"):
            status, refusal = await problem(cluster, node, path)
            assert (path, status, refusal["code"]) == (path, 500, "corrupt-log")
        assert (await node.get("/messages/3000"))["offset"] == 3000
        assert "the log is corrupt at offset 5000" in node.logged()
