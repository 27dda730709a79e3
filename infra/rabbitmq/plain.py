"""The plain way: deliveries by aio-pika's public interface alone, to be read before the fast way, and used without it.

aio-pika runs a task for each delivery and each publishing. Tasks begin in the order in which they are made, so what is
done in a task before its first wait keeps that order: handing a delivery over, and getting in line to publish.
The numbers that the broker gives to deliveries show whether that holds.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import DeliveryError
from yarl import URL

from infra.rabbitmq.transport import Ended, Received
from infra.rabbitmq.trouble import BrokerLostError, broker_trouble
from replicated_log.timings import Timings
from replicated_log.wire.delivery import Envelope

_CANCEL_AGAIN_S: Final = 0.1


class PlainTransport:
    """One connection of aio-pika's."""

    def __init__(self, url: URL, timings: Timings) -> None:
        self.connection = aio_pika.Connection(url)
        self._timings = timings

    async def connect(self) -> None:
        await self.connection.connect()

    async def close(self) -> None:
        """As the interface says, but for one thing that aio-pika does not offer: to drop what is still to be sent.

        The rest of the delivery that the broker was not taking stays in memory until the operating system gives it up.
        """
        async with asyncio.TaskGroup() as tasks:
            closing = tasks.create_task(self.connection.close())
            try:
                await asyncio.wait([closing], timeout=self._timings.close_s)
            finally:
                # A close that is cancelled waits on, for one thing after the other.
                while not closing.done():
                    closing.cancel()
                    await asyncio.wait([closing], timeout=_CANCEL_AGAIN_S)

    async def outbound(self, channel: AbstractChannel, tasks: asyncio.TaskGroup, ended: Ended) -> "PlainOutbound":
        return PlainOutbound(channel, tasks, ended)

    async def inbound(self, channel: AbstractChannel, tasks: asyncio.TaskGroup, ended: Ended) -> "PlainInbound":
        return PlainInbound(channel, tasks, ended, self._timings.watch_s)


class PlainOutbound:
    """Publishes by a task for each delivery, which waits for the broker's confirm."""

    def __init__(self, channel: AbstractChannel, tasks: asyncio.TaskGroup, ended: Ended) -> None:
        self._channel = channel
        self._tasks = tasks
        self._ended = ended

    def publish(self, exchange: str, envelope: Envelope, confirmed: Callable[[bool], None]) -> None:
        self._tasks.create_task(self._publish(exchange, envelope, confirmed))

    def post(self, queue: str, envelope: Envelope) -> bool:
        """Always False: aio-pika sends nothing without waiting."""
        del queue, envelope
        return False

    async def send(self, queue: str, envelope: Envelope) -> None:
        await self._channel.default_exchange.publish(_message(envelope), queue, mandatory=False)

    def forget(self) -> None:
        """Nothing is kept: the tasks are cancelled."""

    async def _publish(self, name: str, envelope: Envelope, confirmed: Callable[[bool], None]) -> None:
        taken = True
        try:
            with broker_trouble():
                exchange = await self._channel.get_exchange(name, ensure=False)
                try:
                    await exchange.publish(_message(envelope), "", mandatory=False)
                except DeliveryError:
                    taken = False
        except BrokerLostError as error:
            self._ended(str(error))
        else:
            confirmed(taken)


class PlainInbound:
    """Hands deliveries over as aio-pika calls back, and settles them by one task.

    Invariant: the deliveries up to number ``_last`` of the channel were handed over, each once.
    """

    def __init__(self, channel: AbstractChannel, tasks: asyncio.TaskGroup, ended: Ended, watch_s: float) -> None:
        self._channel = channel
        self._tasks = tasks
        self._ended = ended
        self._watch_s = watch_s
        self._last = 0
        self._settled = 0
        """The number of the last delivery that was settled."""
        self._to_settle: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        """The channel's prefetch bounds it."""
        tasks.create_task(self._settle())

    async def consume(self, queue: str, receive: Callable[[Received], None], *, settled: bool) -> None:
        async def on_message(message: AbstractIncomingMessage) -> None:
            self._hand_over(message, receive)

        source = await self._channel.declare_queue(queue, passive=True)
        # Another consumer's queue is left alone: the broker refuses this one.
        if not settled and not source.declaration_result.consumer_count:
            # A delivery that aio-pika can't read costs it the connection: left in the queue, it would do so for ever.
            # The other deliveries that are lost here, a secondary fetches from the master.
            await source.purge()
        await source.consume(on_message, no_ack=settled, exclusive=True, consumer_tag=queue)
        self._tasks.create_task(self._watch(queue))

    def _hand_over(self, message: AbstractIncomingMessage, receive: Callable[[Received], None]) -> None:
        number = message.delivery_tag
        if number is None or number <= self._last:
            self._ended(f"delivery {number} came after {self._last}")
            return
        for missing in range(self._last + 1, number):
            # aio-pika could not make a message of it, and has not called back.
            receive(_Received(Envelope(f"(unreadable: number {missing} of its channel)", b""), _settled_with_the_next))
        self._last = number
        receive(_Received(_envelope(message), lambda: self._to_settle.put_nowait(message)))

    async def _settle(self) -> None:
        """Settle one after the other: the broker ends a channel on which numbers are settled that have been before."""
        try:
            with broker_trouble():
                while True:
                    message = await self._to_settle.get()
                    await message.ack(multiple=True)
                    self._settled = message.delivery_tag or 0
        except BrokerLostError as error:
            self._ended(str(error))

    async def _watch(self, queue: str) -> None:
        """Ask whether the queue still has its consumer, and gives it something: aio-pika does not tell either.

        When the queue is gone, the broker answers by closing the channel. When the consumer was sent as many deliveries
        as it may leave unsettled, and aio-pika could read none of them, there is nothing to settle, and none comes.
        """
        stuck_at = None
        try:
            with broker_trouble():
                while True:
                    await asyncio.sleep(self._watch_s)
                    found = (await self._channel.declare_queue(queue, passive=True)).declaration_result
                    if not found.consumer_count:
                        self._ended("the broker has cancelled a consumer")
                        return
                    waits = bool(found.message_count) and self._settled == self._last
                    if waits and stuck_at == self._last:
                        self._ended("deliveries wait behind others that can't be read")
                        return
                    stuck_at = self._last if waits else None
        except BrokerLostError as error:
            self._ended(str(error))


@dataclass(frozen=True, slots=True)
class _Received:
    envelope: Envelope
    settle_up_to: Callable[[], None]


def _settled_with_the_next() -> None:
    """What aio-pika can't read, it can't settle either."""


def _message(envelope: Envelope) -> aio_pika.Message:
    return aio_pika.Message(
        envelope.body,
        type=envelope.kind,
        headers=dict(envelope.headers),
        message_id=envelope.message_id,
        correlation_id=envelope.correlation_id,
        reply_to=envelope.reply_to,
        expiration=envelope.expiration_s,
    )


def _envelope(message: AbstractIncomingMessage) -> Envelope:
    return Envelope(
        kind=message.type or "",
        body=message.body,
        headers=message.headers,
        message_id=message.message_id,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
    )
