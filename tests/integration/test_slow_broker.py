"""A way to the broker that is slow, and one that is dead: only the second ends a session."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import replace

import pytest

from infra.rabbitmq.reconnecting import keep_session
from infra.rabbitmq.session import Session
from replicated_log.timings import DEFAULT
from replicated_log.wire.delivery import Envelope
from tests.cluster import PATIENCE_S
from tests.container_broker import AnyBroker
from tests.integration.conftest import BOTH_WAYS
from tests.tcp_proxy import TcpProxy

pytestmark = [pytest.mark.slow, BOTH_WAYS]

DELIVERIES = 16
LARGE = Envelope("batch", bytes(256 << 10), {}, message_id="large")
TIMEOUT_S = 1.0
SLOW_BYTES_PER_S = DELIVERIES * len(LARGE.body) / (3 * TIMEOUT_S)


NOTHING_ELSE_ENDS_A_SESSION = replace(DEFAULT, publish_s=TIMEOUT_S, heartbeat_s=600)


class PublishedError(Exception):
    """Everything is published, in so many sessions."""


async def sessions_until_published(proxy: TcpProxy, disturb: Callable[[], None], way: str) -> int:
    """How many sessions it takes to publish it all at once, when the way is disturbed in the first."""
    exchange = f"replog.t{secrets.token_hex(4)}.log"
    sessions = 0

    async def set_up(session: Session) -> None:
        await session.declare_exchange(exchange)

    async def work(session: Session) -> None:
        nonlocal sessions
        sessions += 1
        assert sessions <= 2
        if sessions == 1:
            disturb()
        confirmed: asyncio.Queue[bool] = asyncio.Queue()
        for _ in range(DELIVERIES):
            session.publish(exchange, LARGE, confirmed.put_nowait)
        for _ in range(DELIVERIES):
            assert await confirmed.get()
        raise PublishedError

    with pytest.raises(ExceptionGroup) as ended:
        async with asyncio.timeout(PATIENCE_S):
            await keep_session([proxy.url], "node", set_up, work, timings=NOTHING_ELSE_ENDS_A_SESSION, way=way)
    assert ended.group_contains(PublishedError)
    return sessions


async def test_a_session_lasts_while_some_of_what_is_published_gets_through(broker: AnyBroker, amqp: str) -> None:
    async with TcpProxy(broker.amqp_url).running() as proxy:

        def slow_down() -> None:
            proxy.bytes_per_s = SLOW_BYTES_PER_S

        assert await sessions_until_published(proxy, slow_down, amqp) == 1
        proxy.bytes_per_s = None


async def test_a_session_ends_when_nothing_that_is_published_gets_through(broker: AnyBroker, amqp: str) -> None:
    async with TcpProxy(broker.amqp_url).running() as proxy:
        assert await sessions_until_published(proxy, proxy.hold_existing, amqp) == 2
