"""Each write concern blocks for as long as it should, and for nobody else."""

import asyncio
import time

from tests.cluster import Cluster, eventually
from tests.integration.conftest import BOTH_WAYS, NewCluster

pytestmark = BOTH_WAYS


async def test_an_answer_comes_when_w_nodes_hold_the_message_and_not_later(new_cluster: NewCluster) -> None:
    async with new_cluster({"slow": {"LATENCY": "1.5"}, "fast": {"LATENCY": "0.5"}}) as cluster:
        await cluster.started()
        answers = [await cluster.master.append(f"w={w}", w=w) for w in (1, 2, 3)]
    assert [[ack["node"] for ack in answer["acks"]] for answer in answers] == [
        ["master"],
        ["master", "fast"],
        ["master", "slow", "fast"],
    ]
    assert answers[1]["elapsed_ms"] >= 500
    assert answers[2]["elapsed_ms"] >= 1500


async def test_the_periodic_ack_never_answers_early(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {"LATENCY": "2.5"}}) as cluster:
        await cluster.started()
        started = time.monotonic()
        await cluster.master.append("beats come each second, the ack after two and a half", w=2)
        assert time.monotonic() - started >= 2.5


async def test_a_client_that_waits_blocks_nobody(cluster: Cluster) -> None:
    cluster["node2"].kill()
    waiting = asyncio.create_task(cluster.master.append("waits for node2", w=3))
    answers = [await cluster.master.append(f"message {n}", w=2) for n in range(20)]
    assert not waiting.done()
    assert len({answer["offset"] for answer in answers}) == 20
    cluster["node2"].start()
    assert (await waiting)["w"] == 3


async def test_delays_of_concurrent_writes_run_side_by_side(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {"LATENCY": "1"}}) as cluster:
        await cluster.started()
        started = time.monotonic()
        async with asyncio.TaskGroup() as clients:
            for n in range(100):
                clients.create_task(cluster.master.append(f"message {n}", w=2))
        # One after the other they would take 100 s.
        assert 1 <= time.monotonic() - started < 50


async def test_a_delay_before_persisting_makes_replicas_differ_for_a_while(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {"REPLOG_PERSIST_DELAY": "1"}}) as cluster:
        await cluster.started()
        await cluster.master.append("first", w=1)
        assert await cluster["node1"].messages() == []
        answer = await cluster.master.append("second", w=2)
        assert answer["elapsed_ms"] >= 1000
        assert await cluster.converged() == ["first", "second"]


async def test_a_thousand_concurrent_posts_at_w_3_give_three_identical_logs(cluster: Cluster) -> None:
    messages = [f"message {n}" for n in range(1000)]
    async with asyncio.TaskGroup() as clients:
        posts = [clients.create_task(cluster.master.append(message, w=3)) for message in messages]
    log = await cluster.converged()
    assert [log[post.result()["offset"]] for post in posts] == messages
    assert len(log) == 1000


async def test_a_wait_without_enough_acks_says_that_the_message_was_appended(cluster: Cluster) -> None:
    cluster["node2"].kill()
    await eventually(lambda: cluster["node2"].process is None, "node2 is gone")
    status, problem = await cluster.master.post("only on two nodes", w="all", timeout=0.5)
    assert status == 504
    assert problem["appended"] == "yes"
    assert (problem["offset"], problem["acked"], problem["missing"]) == (0, ["master", "node1"], ["node2"])
    cluster["node2"].start()
    assert await cluster.converged() == ["only on two nodes"]


async def test_a_client_that_disconnects_cancels_nothing(cluster: Cluster) -> None:
    cluster["node2"].kill()
    _, writer = await asyncio.open_connection("127.0.0.1", cluster.master.port)
    body = b'{"message": "the client is gone", "w": 3}'
    head = (
        f"POST /messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()

    async def is_appended() -> bool:
        return await cluster.master.messages() == ["the client is gone"]

    await eventually(is_appended, "the message is in the master's log")
    writer.close()
    cluster["node2"].start()
    assert await cluster.converged() == ["the client is gone"]


async def test_a_master_alone_is_a_majority_and_all(new_cluster: NewCluster) -> None:
    async with new_cluster({}) as cluster:
        await cluster.started()
        for w in (1, "majority", "all"):
            assert (await cluster.master.append("alone", w=w))["w"] == 1
        assert (await cluster.master.post("more than there are", w=2))[0] == 400
