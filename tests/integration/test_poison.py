"""What no node can have sent is dropped, counted and told in one line; whoever got it goes on."""

from collections.abc import AsyncIterator
from dataclasses import replace

import aio_pika
import pytest
from aio_pika.abc import AbstractExchange

from infra.rabbitmq.choice import FAST
from infra.rabbitmq.names import Names
from replicated_log.wire.batch import START, Position, encode_batch
from replicated_log.wire.delivery import (
    FOLLOWING,
    MAX_DELIVERY_BYTES,
    VERSION,
    Ack,
    Beat,
    Delivery,
    Envelope,
    Fetch,
    Fetched,
    LiveBatches,
    ReignId,
    encode,
)
from tests.cluster import Cluster, Node, eventually
from tests.container_broker import AnyBroker
from tests.integration.conftest import BOTH_WAYS
from tests.management import Management

pytestmark = BOTH_WAYS

NOWHERE = "a queue that is not"


@pytest.fixture
async def default_exchange(broker: AnyBroker) -> AsyncIterator[AbstractExchange]:
    """What is published here goes to the queue that the routing key names, whoever owns the queue."""
    connection = await aio_pika.connect(broker.amqp_url)
    async with connection:
        yield (await connection.channel()).default_exchange


async def poison(node: Node, queue: str, envelopes: list[Envelope], exchange: AbstractExchange) -> None:
    """Send each to a queue that ``node`` consumes; each must make the counter and the log one longer."""
    before = (await node.status())["poison"]
    assert node.logged().count("dropped a delivery") == before
    for count, envelope in enumerate(envelopes, before + 1):
        message = aio_pika.Message(
            envelope.body,
            type=envelope.kind,
            headers=dict(envelope.headers),
            correlation_id=envelope.correlation_id,
            reply_to=envelope.reply_to,
        )
        await exchange.publish(message, queue)

        async def is_counted(count: int = count) -> bool:
            return bool((await node.status())["poison"] == count)

        await eventually(is_counted, f"{node.name} has counted {envelope.kind!r}, number {count}")
        assert node.logged().count("dropped a delivery") == count


async def reign_of(cluster: Cluster) -> ReignId:
    status = await cluster.master.status()
    return ReignId(status["log_id"], status["epoch"], status["reign_id"])


def spoilt(sound: Delivery) -> list[Envelope]:
    """A delivery that would be taken if it were sound, spoilt in every way that shows in any kind of it."""
    envelope = encode(sound)
    padding = b" " * (MAX_DELIVERY_BYTES + 1 - len(envelope.body))
    return [
        replace(envelope, body=b""),
        replace(envelope, body=envelope.body[:-1]),
        replace(envelope, body=envelope.body + padding),
        replace(envelope, headers={**envelope.headers, "version": VERSION + 1}),
        replace(envelope, headers={}),
        replace(envelope, kind="letter"),
    ]


async def test_a_master_drops_what_no_secondary_can_have_sent(
    cluster: Cluster, default_exchange: AbstractExchange
) -> None:
    reign = await reign_of(cluster)
    queue = Names(cluster.log_name).acks_queue(reign.epoch, 1)
    # Taken for sound, it would show that the master has lost its past, and stop the appends.
    ack = Ack("node1", "disk", reign.log_id, reign.epoch, reign, 0, Position(7, bytes(16)), FOLLOWING)
    fetch = Fetch("node1", reign.log_id, 0, "request", NOWHERE)
    wrong_shapes = [b"[]", b"7", b"{}", encode(ack).body.replace(b'"acked_end":7', b'"acked_end":"7"')]
    batch = encode_batch([b"forged"], log_id=reign.log_id, epoch=reign.epoch, time_ms=0, previous=START)
    for_secondaries: list[Delivery] = [
        Beat(reign, 1, 1, 1, queue),
        LiveBatches(reign, (batch,), queue),
        Fetched(reign, "", 1, (batch,)),
    ]
    envelopes = [
        *spoilt(ack),
        *spoilt(fetch),
        *(replace(encode(ack), body=body) for body in wrong_shapes),
        *map(encode, for_secondaries),
    ]
    await poison(cluster.master, queue, envelopes, default_exchange)
    await cluster.master.append("message", w="all")
    assert await cluster.converged() == ["message"]
    assert "no session with the broker" not in cluster.master.logged()


async def test_a_secondary_drops_what_no_master_can_have_sent(
    cluster: Cluster, broker: AnyBroker, default_exchange: AbstractExchange
) -> None:
    reign = await reign_of(cluster)
    names = Names(cluster.log_name)
    acks_queue = names.acks_queue(reign.epoch, 1)
    node1 = cluster["node1"]
    # Taken for sound, it would be persisted: it is just what would follow.
    batch = encode_batch([b"forged"], log_id=reign.log_id, epoch=reign.epoch, time_ms=0, previous=START)
    flipped = batch.data[:-1] + bytes([batch.data[-1] ^ 1])
    live = LiveBatches(reign, (batch,), acks_queue)
    fetched = Fetched(reign, "request", 1, (batch,))
    beat = Beat(reign, 1, 0, 0, acks_queue)
    fetch = Fetch("node2", reign.log_id, 0, "request", NOWHERE)

    in_its_queue = [
        *spoilt(live),
        *spoilt(beat),
        replace(encode(live), body=flipped),
        replace(encode(live), body=batch.data + flipped),
        replace(encode(beat), body=b'{"number":"one"}'),
        encode(fetch),
    ]
    await poison(node1, names.node_queue("node1"), in_its_queue, default_exchange)
    # An answer without a batch is sound, so the empty one is not spoilt.
    in_its_answers = [*spoilt(fetched)[1:], replace(encode(fetched), body=flipped), encode(fetch)]
    await poison(node1, await fetched_queue(cluster, broker), in_its_answers, default_exchange)

    await cluster.master.append("message", w="all")
    assert await cluster.converged() == ["message"]
    assert "no session with the broker" not in node1.logged()


async def test_a_delivery_that_aio_pika_cannot_read_stops_no_secondary(
    cluster: Cluster, broker: AnyBroker, amqp: str
) -> None:
    beyond_the_year_9999 = 1 << 48
    management = Management(broker, cluster.http)
    for n in range(2):
        assert await management.publish(Names(cluster.log_name).exchange, timestamp=beyond_the_year_9999)
        await cluster.master.append(f"message {n}", w="all")
    assert await cluster.converged() == ["message 0", "message 1"]
    for node in cluster.secondaries.values():
        # It costs aio-pika the connection, but not the next one too.
        assert (await node.status())["poison"] == (2 if amqp == FAST else 0)
        assert node.logged().count("no session with the broker") == (0 if amqp == FAST else 2)


async def fetched_queue(cluster: Cluster, broker: AnyBroker) -> str:
    """The queue for the answers to node1's fetches, which has a random name."""
    prefix = Names(cluster.log_name).fetched_queue("node1", "")
    management = Management(broker, cluster.http)

    async def name() -> str | None:
        names: list[str] = [queue["name"] for queue in await management.get("queues", "/")]
        return next((name for name in names if name.startswith(prefix)), None)

    found: str = await eventually(name, "node1's queue for answers is there")
    return found
