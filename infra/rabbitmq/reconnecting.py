"""Keeping a session with the broker: making its two connections, again and again."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle
from typing import Any, Final

import aio_pika
from aio_pika.abc import AbstractConnection
from yarl import URL

from infra.aio.tasks import first_leaf
from infra.rabbitmq.session import Session
from infra.rabbitmq.stream import Stream
from infra.rabbitmq.trouble import BrokerLostError, at_most, broker_trouble

HEARTBEAT_S: Final = 3
"""The broker gives a silent node up after two to three of them, the node a silent broker after 12 s (aiormq's rule)."""
CONNECT_TIMEOUT_S: Final = 5.0
SETUP_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 2.0
RETRY_S: Final = (0.1, 0.2, 0.5, 1.0)
"""Pauses before the next attempt; the last one repeats."""

logger = logging.getLogger(__name__)


async def keep_session(
    urls: Sequence[str],
    node: str,
    set_up: Callable[[Session], Awaitable[None]],
    work: Callable[[Session], Coroutine[Any, Any, None]],
) -> None:
    """Keep a session with the broker for ever: connect, ``set_up``, ``work`` until the session is lost, start again.

    Where there are several ``urls``, which are those of a cluster's nodes, the next one's turn has come then.
    The first failure of a row is logged, for each url, and the first session after it that is of use; what lies between
    is not worth a line each time.
    """
    assert urls
    failures: Counter[str] = Counter()

    async def end_row(session: Session, url: str) -> None:
        await session.carries()
        logger.info("connected to the broker at %s", _shown(url))
        failures.clear()

    for url in cycle(urls):
        try:
            async with _session(url, node) as session:
                async with at_most(SETUP_TIMEOUT_S):
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
        await asyncio.sleep(RETRY_S[min(failures.total(), len(RETRY_S)) - 1])


@asynccontextmanager
async def _session(url: str, node: str) -> AsyncIterator[Session]:
    async with AsyncExitStack() as opened:
        publishing = await opened.enter_async_context(_connection(url, f"{node} publishes"))
        consuming = await opened.enter_async_context(_connection(url, f"{node} consumes"))
        session = Session(publishing, consuming)
        opened.callback(session.forget)
        yield session


@asynccontextmanager
async def _connection(url: str, name: str) -> AsyncIterator[tuple[AbstractConnection, Stream]]:
    """A connection, closed politely when left, and by force when that takes too long.

    A close that is cancelled goes on waiting: the connection may have more to send than a broker that is blocked or
    gone takes. So it is the stream below that ends it.
    """
    connection = aio_pika.Connection(URL(url).update_query(heartbeat=HEARTBEAT_S, name=name))
    stream = connection.kwargs["transport_factory"] = Stream()
    try:
        with broker_trouble():
            try:
                async with at_most(CONNECT_TIMEOUT_S):
                    await connection.connect()
            except BaseException:
                stream.abort()
                raise
        yield connection, stream
    finally:
        # Also one that was never up: else aio-pika does it by a task of its own, whenever the object is collected.
        force = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, stream.abort)
        try:
            with broker_trouble():
                await connection.close()
        except BrokerLostError as error:
            logger.debug("closing a connection: %s", error)
        finally:
            force.cancel()
            stream.forget()


def _shown(url: str) -> str:
    return str(URL(url).with_user(None))
