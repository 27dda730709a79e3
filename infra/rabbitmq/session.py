"""A node's session with the broker: what it declares, consumes and publishes, and how it ends."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractQueue
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed

from infra.rabbitmq.transport import Outbound, Received, Transport
from infra.rabbitmq.trouble import BrokerLostError, broker_trouble
from replicated_log.timings import Timings
from replicated_log.wire.delivery import Envelope

PREFETCH: Final = 16
"""Unsettled deliveries at a secondary: times 4 MiB, they bound its memory."""
NODE_QUEUE_BYTES: Final = 64 << 20
REPLY_QUEUE_BYTES: Final = 16 << 20
NODE_QUEUE_EXPIRES_MS: Final = 24 * 3600 * 1000

_UNREACHABLE: Final = (ChannelNotFoundEntity, TimeoutError)
"""Raised when a queue is declared that exists, but on a node of the broker that is down."""

logger = logging.getLogger(__name__)


class Session:
    """A node's two connections, both up until :meth:`lost` raises.

    The functions that are handed to it must not raise: their errors would be lost.
    """

    def __init__(self, publishing: Transport, consuming: Transport, tasks: asyncio.TaskGroup, timings: Timings) -> None:
        """``tasks`` lasts as long as the session."""
        self._publishing = publishing
        self._consuming = consuming
        self._tasks = tasks
        self._timings = timings
        self._loop = asyncio.get_running_loop()
        self._over = self._loop.create_future()
        self._carries = asyncio.Event()
        self._outbounds: list[Outbound] = []
        self._unreachable: str | None = None
        self._publishes = 0
        self._progress_at = 0.0
        for transport in (publishing, consuming):
            transport.connection.close_callbacks.add(self._on_close)

    async def open(self) -> None:
        """Raises BrokerLostError, as all methods do that wait."""
        with broker_trouble():
            await self._open_confirming()
            self._direct = await _open_channel(self._publishing.connection, confirms=False)
            self._to_queues = await self._outbound(self._direct)
            await self._open_inbound()

    def forget(self) -> None:
        """The session is left: hand nothing over any more, and keep nothing in memory that was on its way."""
        self._end("left")
        for outbound in self._outbounds:
            outbound.forget()

    async def carries(self) -> None:
        """Wait until something was delivered, or published and confirmed: only then is the session of use."""
        await self._carries.wait()

    async def lost(self) -> None:
        """Wait for the end of the session, and raise BrokerLostError.

        It ends also when something is to be published and nothing gets through for ``publish_s``. Single deliveries
        may take longer: a full window of large ones does, on a slow way.
        """
        while not self._over.done():
            await asyncio.wait([self._over], timeout=self._timings.watch_s)
            if self._publishes and self._loop.time() - self._progress_at > self._timings.publish_s:
                self._end("the broker does not answer in time")
        raise BrokerLostError(self._over.result())

    async def declare_exchange(self, name: str, *, replace: bool = False) -> None:
        """The durable fanout exchange; with ``replace``, one of another kind under this name gives way to it."""
        with broker_trouble():
            try:
                await self._declare_fanout(name)
            except ChannelPreconditionFailed:
                if not replace:
                    raise
                logger.warning("exchange %s is of another kind: replacing it", name)
                await self._open_confirming()
                await self._confirming.exchange_delete(name)
                await self._declare_fanout(name)

    async def declare_node_queue(self, name: str, exchange: str, *, spare: str) -> str:
        """A secondary's queue: durable and bounded; one with other arguments under this name is replaced.

        Returns the queue to consume. That is ``spare``, which goes with this session, when the other one can't be
        reached: in a cluster, while the node that has it is down. See :meth:`spared`.
        """
        with broker_trouble():
            try:
                queue = await self._declare_durable(self._inbound, name)
            except ChannelPreconditionFailed:
                logger.warning("queue %s was declared with other arguments: replacing it", name)
                await self._open_inbound()
                await self._inbound.queue_delete(name)
                queue = await self._declare_durable(self._inbound, name)
            except _UNREACHABLE as error:
                await self._open_inbound()
                queue = await self._declare_exclusive(spare, NODE_QUEUE_BYTES)
                reason = str(error) or "the broker does not answer in time"
                logger.warning("queue %s can't be reached, %s takes its place: %s", name, spare, reason)
                self._unreachable = name
            await queue.bind(exchange)
            return queue.name

    async def spared(self) -> None:
        """Where a spare queue is consumed, end the session once the other one can be reached. Otherwise return."""
        while self._unreachable is not None:
            await asyncio.sleep(self._timings.return_s)
            with broker_trouble():
                channel = await _open_channel(self._consuming.connection, confirms=False)
                with suppress(*_UNREACHABLE):
                    await self._declare_durable(channel, self._unreachable)
                    self._end(f"queue {self._unreachable} can be reached again")
                    return

    async def declare_reply_queue(self, name: str) -> None:
        """A bounded queue that belongs to this session's consuming connection and goes with it."""
        with broker_trouble():
            await self._declare_exclusive(name, REPLY_QUEUE_BYTES)

    async def consume(self, queue: str, receive: Callable[[Received], None], *, settled: bool) -> None:
        """Hand every delivery of ``queue`` to ``receive``, in order. ``settled``: they need not be settled."""

        def on_delivery(received: Received) -> None:
            if self._over.done():
                return
            self._carries.set()
            receive(received)

        with broker_trouble():
            await self._deliveries.consume(queue, on_delivery, settled=settled)

    def publish(self, exchange: str, envelope: Envelope, confirmed: Callable[[bool], None]) -> None:
        """Publish, in the order of the calls. ``confirmed`` is told whether the broker has taken it, or refused.

        Once the session is over, ``confirmed`` is not called any more, be it published or not.
        """

        def on_confirm(taken: bool) -> None:
            if self._over.done():
                return
            self._is_published()
            if taken:
                self._carries.set()
            confirmed(taken)

        self._is_publishing()
        self._to_exchanges.publish(exchange, envelope, on_confirm)

    def post(self, queue: str, envelope: Envelope) -> bool:
        """Send to one queue at once; False, and nothing is sent, when that has to wait, or the connection is lost."""
        return self._to_queues.post(queue, envelope)

    async def send(self, queue: str, envelope: Envelope) -> None:
        """Send to one queue, unconfirmed; if there is no such queue any more, the delivery vanishes."""
        with broker_trouble(), self._watched():
            await self._to_queues.send(queue, envelope)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """To publish in, under the eyes of :meth:`lost`."""
        self._is_publishing()
        try:
            yield
        finally:
            self._is_published()

    def _is_publishing(self) -> None:
        if not self._publishes:
            self._progress_at = self._loop.time()
        self._publishes += 1

    def _is_published(self) -> None:
        self._publishes -= 1
        self._progress_at = self._loop.time()

    async def _open_confirming(self) -> None:
        self._confirming = await _open_channel(self._publishing.connection, confirms=True)
        self._to_exchanges = await self._outbound(self._confirming)

    async def _outbound(self, channel: AbstractChannel) -> Outbound:
        self._outbounds.append(await self._publishing.outbound(channel, self._tasks, self._end))
        return self._outbounds[-1]

    async def _open_inbound(self) -> None:
        self._inbound = await _open_channel(self._consuming.connection, confirms=False)
        self._deliveries = await self._consuming.inbound(self._inbound, self._tasks, self._end)
        await self._inbound.set_qos(prefetch_count=PREFETCH)

    async def _declare_durable(self, channel: AbstractChannel, name: str) -> AbstractQueue:
        """In ``declare_s``: a newer RabbitMQ takes a minute before it says that a queue's node is down."""
        arguments = _bounded(NODE_QUEUE_BYTES) | {"x-expires": NODE_QUEUE_EXPIRES_MS}
        return await channel.declare_queue(name, durable=True, arguments=arguments, timeout=self._timings.declare_s)

    async def _declare_exclusive(self, name: str, max_bytes: int) -> AbstractQueue:
        return await self._inbound.declare_queue(name, exclusive=True, auto_delete=True, arguments=_bounded(max_bytes))

    async def _declare_fanout(self, name: str) -> None:
        await self._confirming.declare_exchange(name, aio_pika.ExchangeType.FANOUT, durable=True)

    def watch_channels(self) -> None:
        """From now on, the end of a channel is the end of the session. (Declaring may cost a channel and go on.)"""
        for channel in (self._confirming, self._direct, self._inbound):
            channel.close_callbacks.add(self._on_close)
            if channel.is_closed:
                self._end("a channel closed before it was watched")

    def _on_close(self, _: object, error: BaseException | None) -> None:
        self._end(repr(error) if error else "closed")

    def _end(self, reason: str) -> None:
        if not self._over.done():
            self._over.set_result(reason)


async def _open_channel(connection: AbstractConnection, *, confirms: bool) -> AbstractChannel:
    channel = connection.channel(publisher_confirms=confirms)
    await channel.initialize()
    return channel


def _bounded(max_bytes: int) -> dict[str, Any]:
    return {"x-queue-type": "classic", "x-max-length-bytes": max_bytes, "x-overflow": "drop-head"}
