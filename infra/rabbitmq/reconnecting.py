"""Keeping a session with the broker: making its two connections, again and again."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from itertools import cycle
from typing import Any

from yarl import URL

from infra.aio.tasks import first_leaf
from infra.rabbitmq.choice import choose
from infra.rabbitmq.session import Session
from infra.rabbitmq.transport import NewTransport, Transport
from infra.rabbitmq.trouble import BrokerLostError, at_most, broker_trouble
from replicated_log.timings import Timings

logger = logging.getLogger(__name__)


async def keep_session(
    urls: Sequence[str],
    node: str,
    set_up: Callable[[Session], Awaitable[None]],
    work: Callable[[Session], Coroutine[Any, Any, None]],
    *,
    timings: Timings,
    way: str,
) -> None:
    """Keep a session with the broker for ever: connect, ``set_up``, ``work`` until the session is lost, start again.

    ``urls`` are the broker's, or those of a cluster's nodes, which take turns. ``way`` is one of `choice.WAYS`.
    A row of failures is logged as one warning for each url; the first session after them that is of use is logged too.
    """
    assert urls
    new_transport = await choose(way)
    failures: Counter[str] = Counter()

    async def end_row(session: Session, url: str) -> None:
        await session.carries()
        logger.info("connected to the broker at %s", _shown(url))
        failures.clear()

    for url in cycle(urls):
        try:
            async with _session(url, node, new_transport, timings) as session:
                async with at_most(timings.set_up_s):
                    await session.open()
                    await set_up(session)
                    session.watch_channels()
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(session.lost())
                    tasks.create_task(end_row(session, url))
                    tasks.create_task(work(session))
        except* BrokerLostError as group:
            failures[url] += 1
            level = logging.WARNING if failures[url] == 1 else logging.DEBUG
            logger.log(level, "no session with the broker at %s, trying on: %s", _shown(url), first_leaf(group))
        await asyncio.sleep(timings.retry_s[min(failures.total(), len(timings.retry_s)) - 1])


@asynccontextmanager
async def _session(url: str, node: str, new_transport: NewTransport, timings: Timings) -> AsyncIterator[Session]:
    def connection(name: str) -> AbstractAsyncContextManager[Transport]:
        named = URL(url).update_query(heartbeat=timings.heartbeat_s, name=name)
        return _connected(new_transport(named, timings), timings)

    async with AsyncExitStack() as opened:
        publishing = await opened.enter_async_context(connection(f"{node} publishes"))
        consuming = await opened.enter_async_context(connection(f"{node} consumes"))
        tasks = await opened.enter_async_context(asyncio.TaskGroup())
        session = Session(publishing, consuming, tasks, timings)
        opened.callback(session.forget)
        yield session


@asynccontextmanager
async def _connected(transport: Transport, timings: Timings) -> AsyncIterator[Transport]:
    try:
        with broker_trouble():
            async with at_most(timings.connect_s):
                await transport.connect()
        yield transport
    finally:
        # Also one that was never up: else aio-pika does it by a task of its own, when the object is collected.
        try:
            with broker_trouble():
                await transport.close()
        except BrokerLostError as error:
            logger.debug("closing a connection: %s", error)


def _shown(url: str) -> str:
    return str(URL(url).with_user(None))
