"""How many readers and answers a node bears."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, closing
from io import BytesIO

import pytest

from infra.http.answers import MAX_UNTAKEN_BYTES
from node.http.reading.readable import MAX_WAITING
from tests.cluster import Cluster, eventually
from tests.integration.conftest import NewCluster
from tests.integration.reading import read, read_offsets


@pytest.fixture
async def master(new_cluster: NewCluster) -> AsyncIterator[Cluster]:
    async with new_cluster({}) as cluster:
        yield await cluster.started()


async def test_there_are_no_more_waiting_readers_than_the_node_can_bear(master: Cluster) -> None:
    async def one_more() -> tuple[int, str | None]:
        response, _ = await read(master, master.master, "/messages?min_offset=0&timeout=0.01")
        return response.status, response.headers.get("Retry-After")

    async def is_full() -> bool:
        return await one_more() == (503, "1")

    async def is_not_full() -> bool:
        return await one_more() == (504, None)

    async with asyncio.TaskGroup() as readers:
        waits = [
            readers.create_task(read_offsets(master.master, "min_offset=0&timeout=60")) for _ in range(MAX_WAITING)
        ]
        await eventually(is_full, "there is no room for another reader")
        waits[0].cancel()
        await eventually(is_not_full, "whoever leaves gives room to another")
        await master.master.append("message")
    assert [wait.result() for wait in waits[1:]] == [[0]] * (MAX_WAITING - 1)


async def test_answers_that_nobody_takes_are_bounded_in_memory_until_their_readers_leave(master: Cluster) -> None:
    lines = BytesIO(b"".join(b'"%s"\n' % (b"x" * 1_000_000) for _ in range(4)))
    async with master.http.post(
        f"{master.master.url}/messages", data=lines, headers={"Content-Type": "application/x-ndjson"}
    ) as response:
        assert response.status == 201
    size = len(await master.master.batches(0))
    assert size > 4_000_000

    async def one_more() -> tuple[int, str | None]:
        response, _ = await read(master, master.master, "/batches")
        return response.status, response.headers.get("Retry-After")

    async def is_full() -> bool:
        return await one_more() == (503, "1")

    async def is_not_full() -> bool:
        return await one_more() == (200, None)

    with ExitStack() as idle:
        for _ in range(MAX_UNTAKEN_BYTES // size):
            reader = idle.enter_context(closing(socket.socket()))
            # So that the kernel does not take it all for the reader.
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
            reader.connect(("127.0.0.1", master.master.port))
            reader.sendall(b"GET /batches HTTP/1.1\r\nHost: node\r\n\r\n")
        await eventually(is_full, "there is no room for another answer")
        assert (await master.master.get("/status"))["end_offset"] == 4
    await eventually(is_not_full, "whoever leaves gives room to another")
