"""One connection whose deliveries are written and read as frames, beside all else, which is aio-pika's."""

import asyncio

import aio_pika
import aiormq
from aio_pika.abc import AbstractChannel
from yarl import URL

from infra.rabbitmq.fast.inbound import FastInbound
from infra.rabbitmq.fast.outbound import FastOutbound
from infra.rabbitmq.fast.stream import Stream
from infra.rabbitmq.transport import Ended
from replicated_log.timings import Timings


class FastTransport:
    """A connection of aio-pika's, on a stream that this package makes and keeps hold of."""

    def __init__(self, url: URL, timings: Timings) -> None:
        self.connection = aio_pika.Connection(url)
        self._stream = self.connection.kwargs["transport_factory"] = Stream()
        self._timings = timings

    async def connect(self) -> None:
        try:
            await self.connection.connect()
        except BaseException:
            self._stream.abort()
            raise

    async def close(self) -> None:
        """As the interface says.

        A close that is cancelled goes on waiting: the connection may have more to send than a broker that is blocked
        or gone takes. So it is the stream below that ends it.
        """
        force = asyncio.get_running_loop().call_later(self._timings.close_s, self._stream.abort)
        try:
            await self.connection.close()
        finally:
            force.cancel()
            self._stream.forget()

    async def outbound(self, channel: AbstractChannel, tasks: asyncio.TaskGroup, ended: Ended) -> FastOutbound:
        del tasks
        return FastOutbound(await _aiormq_channel(channel), self._stream, ended)

    async def inbound(self, channel: AbstractChannel, tasks: asyncio.TaskGroup, ended: Ended) -> FastInbound:
        del tasks
        inner = await _aiormq_channel(channel)
        inner.on_consumer_cancel_callbacks.add(lambda _: ended("the broker has cancelled a consumer"))
        return FastInbound(inner, self._stream, ended)


async def _aiormq_channel(channel: AbstractChannel) -> aiormq.Channel:
    """The channel of aiormq that aio-pika's wraps."""
    inner = await channel.get_underlay_channel()
    assert isinstance(inner, aiormq.Channel)
    return inner
