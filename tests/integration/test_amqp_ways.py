"""A session with a real broker, by each way in which deliveries go, and the step back from the fast way."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aio_pika
import aiohttp
import aiormq
import pytest
from aio_pika.abc import AbstractChannel

from infra.aio.tasks import beside
from infra.rabbitmq.choice import FAST, PLAIN
from infra.rabbitmq.reconnecting import keep_session
from infra.rabbitmq.session import PREFETCH, Session
from infra.rabbitmq.transport import Received
from replicated_log.timings import DEFAULT
from replicated_log.wire.delivery import Envelope
from tests.cluster import PATIENCE_S, eventually
from tests.container_broker import AnyBroker
from tests.integration.conftest import BOTH_WAYS_ALWAYS
from tests.management import Management

COUNT = 20 * PREFETCH


class Node:
    """Consumes a queue of its own that is bound to an exchange of its own, in one session after the other."""

    def __init__(self, url: str, way: str, *, settles: bool = True) -> None:
        name = secrets.token_hex(4)
        self.exchange, self.queue = f"replog.t{name}.log", f"replog.t{name}.node.node1"
        self.received: list[Received] = []
        self.sessions: list[Session] = []
        self._settles = settles
        self._url = url
        self._way = way

    async def keeping(self) -> None:
        """Keep a session for ever."""
        await keep_session([self._url], "node1", self._set_up, self._work, timings=DEFAULT, way=self._way)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Session]:
        async with beside(self.keeping()):
            await eventually(lambda: self.sessions, "there is a session")
            yield self.sessions[0]

    def has_more_than(self, count: int) -> bool:
        return len(self.received) > count

    @property
    def envelopes(self) -> list[Envelope]:
        return [one.envelope for one in self.received]

    async def _set_up(self, session: Session) -> None:
        await session.declare_exchange(self.exchange)
        await session.declare_node_queue(self.queue, self.exchange, spare=f"{self.queue}.spare")
        await session.consume(self.queue, self._receive, settled=False)

    async def _work(self, session: Session) -> None:
        self.sessions.append(session)

    def _receive(self, received: Received) -> None:
        self.received.append(received)
        if self._settles and len(self.received) % (PREFETCH // 2) == 0:
            received.settle_up_to()


@pytest.fixture
async def channel(broker: AnyBroker) -> AsyncIterator[AbstractChannel]:
    """Of a connection that is not the node's."""
    connection = await aio_pika.connect(broker.amqp_url)
    async with connection:
        yield await connection.channel()


def numbered(number: int) -> Envelope:
    return Envelope("kind", b"%d" % number, {"version": 1}, message_id=f"{number}", reply_to="queue")


@BOTH_WAYS_ALWAYS
async def test_deliveries_come_in_the_order_of_publishing_and_each_is_confirmed(broker: AnyBroker, amqp: str) -> None:
    node = Node(broker.amqp_url, amqp)
    confirmed: list[tuple[int, bool]] = []

    def tell(number: int, taken: bool) -> None:
        confirmed.append((number, taken))

    async with node.running() as session:
        for number in range(COUNT):
            session.publish(node.exchange, numbered(number), partial(tell, number))
        await eventually(lambda: len(node.received) == len(confirmed) == COUNT, "all have arrived, and are confirmed")
    assert node.envelopes == [numbered(number) for number in range(COUNT)]
    assert sorted(confirmed) == [(number, True) for number in range(COUNT)]
    assert len(node.sessions) == 1


@BOTH_WAYS_ALWAYS
async def test_what_is_sent_to_a_queue_arrives_in_order(broker: AnyBroker, amqp: str) -> None:
    node = Node(broker.amqp_url, amqp)
    async with node.running() as session:
        for number in range(COUNT):
            if not session.post(node.queue, numbered(number)):
                await session.send(node.queue, numbered(number))
        await eventually(lambda: len(node.received) == COUNT, "all have arrived")
    assert node.envelopes == [numbered(number) for number in range(COUNT)]


@BOTH_WAYS_ALWAYS
async def test_the_broker_sends_no_more_than_the_prefetch_until_something_is_settled(
    broker: AnyBroker, amqp: str
) -> None:
    node = Node(broker.amqp_url, amqp, settles=False)
    async with aiohttp.ClientSession() as http, node.running() as session:
        for number in range(COUNT):
            await session.send(node.queue, numbered(number))
        management = Management(broker, http)

        async def waiting() -> bool:
            queue = await management.get("queues", "/", node.queue)
            counts = (queue.get("messages_unacknowledged"), queue.get("messages_ready"))
            return bool(counts == (PREFETCH, COUNT - PREFETCH))

        await eventually(waiting, "the rest waits in the queue")
        assert len(node.received) == PREFETCH
        node.received[-1].settle_up_to()
        await eventually(lambda: len(node.received) == 2 * PREFETCH, "as many more have arrived")


@BOTH_WAYS_ALWAYS
async def test_a_publishing_that_the_broker_refuses_is_told(
    broker: AnyBroker, amqp: str, channel: AbstractChannel
) -> None:
    node = Node(broker.amqp_url, amqp)
    confirmed: asyncio.Queue[bool] = asyncio.Queue()
    async with node.running() as session:
        full = await channel.declare_queue(
            f"{node.queue}.full", exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
        )
        await full.bind(node.exchange)
        # By a channel that waits for the broker's confirm, so that the queue is full when the next one comes.
        await channel.default_exchange.publish(aio_pika.Message(b"fills it"), full.name)
        session.publish(node.exchange, numbered(1), confirmed.put_nowait)
        async with asyncio.timeout(PATIENCE_S):
            assert await confirmed.get() is False
        await full.delete(if_unused=False, if_empty=False)
        session.publish(node.exchange, numbered(2), confirmed.put_nowait)
        async with asyncio.timeout(PATIENCE_S):
            assert await confirmed.get() is True
    assert len(node.sessions) == 1


@BOTH_WAYS_ALWAYS
async def test_a_consumer_that_the_broker_ends_ends_the_session(
    broker: AnyBroker, amqp: str, channel: AbstractChannel
) -> None:
    node = Node(broker.amqp_url, amqp)
    async with node.running():
        await channel.queue_delete(node.queue)
        await eventually(lambda: len(node.sessions) == 2, "there is another session")
        await node.sessions[1].send(node.queue, numbered(0))
        await eventually(lambda: node.received, "it consumes")


@BOTH_WAYS_ALWAYS
async def test_a_delivery_with_a_property_that_makes_no_sense_costs_no_session(broker: AnyBroker, amqp: str) -> None:
    node = Node(broker.amqp_url, amqp)
    async with aiohttp.ClientSession() as http, node.running() as session:
        # RabbitMQ 3.10 lets nobody publish such a one.
        taken = await Management(broker, http).publish(node.exchange, delivery_mode=7)
        await session.send(node.queue, numbered(1))
        await eventually(lambda: len(node.received) == 1 + taken, "all are handed over")
    *strange, sound = node.envelopes
    assert all(one.kind != numbered(1).kind for one in strange)
    assert sound == numbered(1)
    assert len(node.sessions) == 1


@BOTH_WAYS_ALWAYS
async def test_what_is_sound_arrives_behind_as_many_deliveries_that_make_no_sense_as_may_be_unsettled(
    broker: AnyBroker, amqp: str, channel: AbstractChannel
) -> None:
    node = Node(broker.amqp_url, amqp)
    async with aiohttp.ClientSession() as http, node.running():
        management = Management(broker, http)
        for _ in range(PREFETCH):
            await management.publish(node.exchange, delivery_mode=7)

        async def arrives() -> bool:
            await channel.default_exchange.publish(aio_pika.Message(b"sound"), node.queue)
            return any(envelope.body == b"sound" for envelope in node.envelopes)

        await eventually(arrives, "a sound one arrives, be it in another session")


@BOTH_WAYS_ALWAYS
async def test_a_consumer_that_is_refused_leaves_the_queue_as_it_is(
    broker: AnyBroker, amqp: str, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(broker.amqp_url, amqp, settles=False)
    second = Node(broker.amqp_url, amqp)
    second.exchange, second.queue = node.exchange, node.queue
    async with node.running() as session:
        for number in range(COUNT):
            await session.send(node.queue, numbered(number))
        await eventually(lambda: len(node.received) == PREFETCH, "the first ones have arrived")
        async with beside(second.keeping()):
            await eventually(lambda: "another process runs under this node's name" in caplog.text, "it is refused")
        while len(node.received) < COUNT:
            node.received[-1].settle_up_to()
            await eventually(partial(node.has_more_than, len(node.received)), "more have arrived")
    assert node.envelopes == [numbered(number) for number in range(COUNT)]
    assert not second.sessions


@pytest.mark.parametrize(("way", "expected"), [(FAST, 1), (PLAIN, 0)])
async def test_where_the_fast_way_lacks_something_the_node_goes_the_plain_way_with_one_warning(
    broker: AnyBroker, way: str, expected: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    as_it_is = aiormq.connection.Connection.__init__

    def without_transport_factory(self: aiormq.connection.Connection, *args: Any, **kwargs: Any) -> None:
        kwargs.pop("transport_factory", None)
        as_it_is(self, *args, **kwargs)

    monkeypatch.setattr(aiormq.connection.Connection, "__init__", without_transport_factory)
    node = Node(broker.amqp_url, way)
    with caplog.at_level(logging.WARNING, "infra.rabbitmq"):
        async with node.running() as session:
            taken: asyncio.Queue[bool] = asyncio.Queue()
            session.publish(node.exchange, numbered(1), taken.put_nowait)
            await eventually(lambda: node.received and not taken.empty(), "it is published and received")
    warnings = [one.getMessage() for one in caplog.records if one.name.startswith("infra.rabbitmq")]
    assert len(warnings) == expected
    assert all("transport_factory" in warning for warning in warnings)
