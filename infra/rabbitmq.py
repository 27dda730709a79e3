"""RabbitMQ, as the nodes use it. The only module that speaks AMQP.

A node's session is two connections, because a broker that blocks publishers (memory or disk alarm) must not stop
consumers: one publishes, one consumes. Whatever goes wrong with either ends the session; :func:`keep_session` then
makes a new one, topology included. Nothing depends on the broker keeping anything.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from typing import Any, Final

import aio_pika
import aiormq
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelPreconditionFailed, DeliveryError
from aiormq.abc import DeliveredMessage
from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from aiormq.exceptions import ChannelAccessRefused, ChannelInvalidStateError, ChannelLockedResource
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.common import FieldTable
from pamqp.frame import marshal
from pamqp.header import ContentHeader
from yarl import URL

from infra.process import first_leaf
from replicated_log.delivery import MAX_DELIVERY_BYTES, Envelope

PREFETCH: Final = 16
"""Unsettled deliveries at a secondary: times 4 MiB, they bound its memory."""
NODE_QUEUE_BYTES: Final = 64 << 20
REPLY_QUEUE_BYTES: Final = 16 << 20
NODE_QUEUE_EXPIRES_MS: Final = 24 * 3600 * 1000
HEARTBEAT_S: Final = 3
"""The broker gives a silent node up after two to three of them, the node a silent broker after 12 s (aiormq's rule)."""
CONNECT_TIMEOUT_S: Final = 5.0
SETUP_TIMEOUT_S: Final = 10.0
PUBLISH_TIMEOUT_S: Final = 5.0
"""Without that any gets through: a full window of large deliveries may well take longer, on a slow way."""
UNSENT_BYTES: Final = 16 << 10
"""Where less waits to be written, the stream takes more. (It refuses from 64 KiB on until there are 16 again.)"""
WATCH_S: Final = 1.0
CLOSE_TIMEOUT_S: Final = 2.0
SHORT_S: Final = 5.0
"""A session that is lost sooner may have met a delivery that AMQP itself can't read, and that would come again."""
NOT_PERSISTENT: Final = 1
RETRY_S: Final = (0.1, 0.2, 0.5, 1.0)
"""Pauses before the next attempt; the last one repeats."""

logger = logging.getLogger(__name__)


class BrokerLostError(Exception):
    """Raised by a session's methods: the session is over. A publish that raised it may have arrived, or may yet."""


class Received:
    """A delivery as it came in; to be settled once it is finished with."""

    __slots__ = ("_channel", "_tag", "envelope")

    def __init__(self, channel: aiormq.Channel, tag: int, envelope: Envelope) -> None:
        self._channel = channel
        self._tag = tag
        self.envelope = envelope

    async def settle_up_to(self) -> None:
        """Settle this delivery and every earlier one of its session. On a session that is over, nothing happens."""
        try:
            with _broker_trouble():
                # No need to wait until it is sent: PREFETCH bounds how many there can be.
                await self._channel.basic_ack(self._tag, multiple=True, wait=False)
        except BrokerLostError as error:
            logger.debug("not settled, the session is over: %s", error)


class Session:
    """A node's two connections, both up until :meth:`lost` raises. ``afresh``: empty the node's queue first."""

    def __init__(
        self, publishing: AbstractConnection, consuming: AbstractConnection, outward: "_Stream", *, afresh: bool
    ) -> None:
        self._publishing = publishing
        self._consuming = consuming
        self._outward = outward
        self._afresh = afresh
        self._over = asyncio.get_running_loop().create_future()
        self._carries = asyncio.Event()
        self._publishes = 0
        self._progress_at = 0.0
        for connection in (publishing, consuming):
            connection.close_callbacks.add(self._on_close)

    async def open(self) -> None:
        """Raises BrokerLostError, as all methods do."""
        with _broker_trouble():
            await self._open_confirming()
            self._direct = await self._channel(self._publishing, confirms=False)
            self._to_queues = _Outbound(await _underlay(self._direct), self._outward)
            await self._open_inbound()

    async def carries(self) -> None:
        """Wait until something was delivered, or published and confirmed: only then is the session of use."""
        await self._carries.wait()

    async def lost(self) -> None:
        """Wait for the end of the session, and raise BrokerLostError, or what a receiver has raised.

        It ends too when of what is published nothing gets through for PUBLISH_TIMEOUT_S.
        """
        while not self._over.done():
            await asyncio.wait([self._over], timeout=WATCH_S)
            if self._publishes and asyncio.get_running_loop().time() - self._progress_at > PUBLISH_TIMEOUT_S:
                self._end("the broker does not answer in time")
        raise BrokerLostError(self._over.result())

    async def declare_exchange(self, name: str, *, replace: bool = False) -> None:
        """The durable fanout exchange; with ``replace``, one of another kind under this name gives way to it."""
        with _broker_trouble():
            try:
                await self._declare_fanout(name)
            except ChannelPreconditionFailed:
                if not replace:
                    raise
                logger.warning("exchange %s is of another kind: replacing it", name)
                await self._open_confirming()
                await self._confirming.exchange_delete(name)
                await self._declare_fanout(name)

    async def declare_node_queue(self, name: str, exchange: str) -> None:
        """A secondary's queue: durable and bounded; one with other arguments under this name is replaced."""
        arguments: FieldTable = {
            "x-queue-type": "classic",
            "x-max-length-bytes": NODE_QUEUE_BYTES,
            "x-overflow": "drop-head",
            "x-expires": NODE_QUEUE_EXPIRES_MS,
        }
        with _broker_trouble():
            try:
                queue = await self._inbound.declare_queue(name, durable=True, arguments=arguments)
            except ChannelPreconditionFailed:
                logger.warning("queue %s was declared with other arguments: replacing it", name)
                await self._open_inbound()
                await self._inbound.queue_delete(name)
                queue = await self._inbound.declare_queue(name, durable=True, arguments=arguments)
            await queue.bind(exchange)
            if self._afresh:
                await queue.purge()

    async def declare_reply_queue(self, name: str) -> None:
        """A bounded queue that belongs to this session's consuming connection and goes with it."""
        arguments: FieldTable = {
            "x-queue-type": "classic",
            "x-max-length-bytes": REPLY_QUEUE_BYTES,
            "x-overflow": "drop-head",
        }
        with _broker_trouble():
            await self._inbound.declare_queue(name, exclusive=True, auto_delete=True, arguments=arguments)

    async def consume(self, queue: str, receive: Callable[[Received], None], *, settled: bool) -> None:
        """Hand every delivery of ``queue`` to ``receive``, in order. ``settled``: they need not be settled."""

        def on_delivery(received: Received) -> None:
            self._carries.set()
            try:
                receive(received)
            except Exception as error:  # noqa: BLE001 - it is what ends the session, and nothing else here
                self._fail(error)

        with _broker_trouble():
            await self._deliveries.consume(queue, on_delivery, settled=settled)

    async def publish(self, exchange: str, envelope: Envelope) -> bool:
        """Publish, and wait for the broker's confirm; False when the broker refuses. Calls keep their order."""
        with _broker_trouble():
            try:
                with self._watched():
                    await self._to_exchanges.publish(exchange, envelope)
            except DeliveryError as error:
                logger.debug("the broker refused %s %s: %r", envelope.kind, envelope.message_id, error)
                return False
        self._carries.set()
        return True

    def post(self, queue: str, envelope: Envelope) -> bool:
        """Send to one queue at once; False, and nothing is sent, when that has to wait, or the session is over."""
        return self._to_queues.post(queue, envelope)

    async def send(self, queue: str, envelope: Envelope) -> None:
        """Send to one queue, unconfirmed; if there is no such queue any more, the delivery vanishes."""
        with _broker_trouble(), self._watched():
            await self._to_queues.send(queue, envelope)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """To publish in, under the eyes of :meth:`lost`."""
        loop = asyncio.get_running_loop()
        if not self._publishes:
            self._progress_at = loop.time()
        self._publishes += 1
        try:
            yield
        finally:
            self._publishes -= 1
            self._progress_at = loop.time()

    async def _open_confirming(self) -> None:
        self._confirming = await self._channel(self._publishing, confirms=True)
        self._to_exchanges = _Outbound(await _underlay(self._confirming), self._outward)

    async def _open_inbound(self) -> None:
        self._inbound = await self._channel(self._consuming, confirms=False)
        self._deliveries = _Inbound(await _underlay(self._inbound))
        await self._inbound.set_qos(prefetch_count=PREFETCH)

    async def _channel(self, connection: AbstractConnection, *, confirms: bool) -> AbstractChannel:
        channel = connection.channel(publisher_confirms=confirms)
        await channel.initialize()
        underlay = await _underlay(channel)
        underlay.on_consumer_cancel_callbacks.add(self._on_cancel)
        return channel

    async def _declare_fanout(self, name: str) -> None:
        await self._confirming.declare_exchange(name, aio_pika.ExchangeType.FANOUT, durable=True)

    def watch_channels(self) -> None:
        """From now on, the end of a channel is the end of the session. (Declaring may cost a channel and go on.)"""
        for channel in (self._confirming, self._direct, self._inbound):
            channel.close_callbacks.add(self._on_close)

    def _on_close(self, _: object, error: BaseException | None) -> None:
        self._end(repr(error) if error else "closed")

    def _on_cancel(self, _: object) -> None:
        self._end("the broker has cancelled a consumer")

    def _fail(self, error: Exception) -> None:
        if not self._over.done():
            self._over.set_exception(error)

    def _end(self, reason: str) -> None:
        if not self._over.done():
            self._over.set_result(reason)


async def keep_session(
    url: str,
    node: str,
    set_up: Callable[[Session], Awaitable[None]],
    work: Callable[[Session], Coroutine[Any, Any, None]],
) -> None:
    """Keep a session with the broker for ever: connect, ``set_up``, ``work`` until the session is lost, start again.

    The first failure of a row is logged, and the first session after it that is of use; what lies between is not worth
    a line each time.
    """
    failures = 0
    lived_s = SHORT_S
    loop = asyncio.get_running_loop()

    async def end_row(session: Session) -> None:
        nonlocal failures
        await session.carries()
        logger.info("connected to the broker at %s", _shown(url))
        failures = 0

    while True:
        try:
            async with _session(url, node, afresh=lived_s < SHORT_S) as session:
                began = loop.time()
                async with _at_most(SETUP_TIMEOUT_S):
                    await session.open()
                    await set_up(session)
                    session.watch_channels()
                try:
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(session.lost())
                        tasks.create_task(end_row(session))
                        tasks.create_task(work(session))
                finally:
                    lived_s = loop.time() - began
        except* BrokerLostError as group:
            failures += 1
            level = logging.WARNING if failures == 1 else logging.DEBUG
            logger.log(level, "no session with the broker at %s, trying on: %s", _shown(url), first_leaf(group))
        await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S)) - 1])


@asynccontextmanager
async def _session(url: str, node: str, *, afresh: bool) -> AsyncIterator[Session]:
    async with (
        _connection(url, f"{node} publishes") as (publishing, outward),
        _connection(url, f"{node} consumes") as (consuming, _),
    ):
        yield Session(publishing, consuming, outward, afresh=afresh)


@asynccontextmanager
async def _connection(url: str, name: str) -> AsyncIterator[tuple[AbstractConnection, "_Stream"]]:
    """A connection, closed politely when left, and by force when that takes too long.

    A close that is cancelled goes on waiting: the connection may have more to send than a broker that is blocked or
    gone takes. So it is the stream below that ends it.
    """
    connection = aio_pika.Connection(URL(url).update_query(heartbeat=HEARTBEAT_S, name=name))
    stream = connection.kwargs["transport_factory"] = _Stream()
    try:
        with _broker_trouble():
            try:
                async with _at_most(CONNECT_TIMEOUT_S):
                    await connection.connect()
            except BaseException:
                stream.abort()
                raise
        yield connection, stream
    finally:
        # Also one that was never up: else aio-pika does it by a task of its own, whenever the object is collected.
        force = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, stream.abort)
        try:
            with _broker_trouble():
                await connection.close()
        except BrokerLostError as error:
            logger.debug("closing a connection: %s", error)
        finally:
            force.cancel()


class _Stream(TransportFactory):
    """Makes the stream of one connection, as aiormq would, and keeps hold of it."""

    _writer: asyncio.StreamWriter | None = None

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        factory = TLSTransportFactory() if url.scheme == "amqps" else TCPTransportFactory()
        reader, self._writer = await factory.create(url, **kwargs)
        return reader, self._writer

    async def write(self, make_frames: Callable[[], bytes]) -> None:
        """Write whole frames, made when there is room for more; the calls keep their order."""
        assert self._writer is not None
        async with self._turn:
            await self._writer.drain()
            self._writer.write(make_frames())

    def write_now(self, make_frames: Callable[[], bytes]) -> bool:
        """Write whole frames if there is room for more, and nobody waits for that; False: nothing is written."""
        assert self._writer is not None
        transport = self._writer.transport
        if self._turn.locked() or transport.is_closing() or transport.get_write_buffer_size() >= UNSENT_BYTES:
            return False
        self._writer.write(make_frames())
        return True

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()


class _Inbound:
    """A channel that is consumed on: puts a delivery's frames together, and hands it over in the turn they come in.

    aiormq would hand each frame to one task and each delivery to another, which takes longer than what is made of it.
    Whatever belongs to no delivery goes on to its channel.
    """

    def __init__(self, channel: aiormq.Channel) -> None:
        self._channel = channel
        self._receivers: dict[str, Callable[[Received], None]] = {}
        self._deliver: Basic.Deliver | None = None
        self._header = ContentHeader()
        self._pieces: list[bytes] = []
        self._missing = 0
        self._pass_on = channel.frames.put
        channel.frames.put = self._put  # type: ignore[method-assign]

    async def consume(self, queue: str, receive: Callable[[Received], None], *, settled: bool) -> None:
        async def never(_: DeliveredMessage) -> None:
            raise AssertionError("aiormq sees no delivery")

        self._receivers[queue] = receive
        await self._channel.basic_consume(queue, never, no_ack=settled, exclusive=True, consumer_tag=queue)

    async def _put(self, item: Any) -> None:
        _, frame = item
        if isinstance(frame, Basic.Deliver):
            self._deliver = frame
            return
        if isinstance(frame, ContentHeader):
            self._header, self._missing, self._pieces = frame, frame.body_size, []
        elif isinstance(frame, ContentBody):
            self._pieces.append(frame.value)
            self._missing -= len(frame.value)
        else:
            await self._pass_on(item)
            return
        if self._missing <= 0:
            self._hand_over()

    def _hand_over(self) -> None:
        assert self._deliver is not None
        tag, queue = self._deliver.delivery_tag, self._deliver.consumer_tag
        assert tag is not None
        assert queue is not None
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._deliver, self._pieces = None, []
        self._receivers[queue](Received(self._channel, tag, _envelope(self._header, body)))


class _Outbound:
    """A channel that deliveries are published on: written to the connection's stream at once.

    aiormq would hand each to a task that writes, and wait for that, which takes about as long as all the rest. Its
    channel still is what hears the broker's confirms, and ends the wait for them.
    """

    def __init__(self, channel: aiormq.Channel, stream: _Stream) -> None:
        self._channel = channel
        self._stream = stream
        limit = channel.max_content_size
        self._body_frame_bytes = limit if limit > 0 else MAX_DELIVERY_BYTES  # A broker's frame_max of 0 is no limit.

    async def publish(self, exchange: str, envelope: Envelope) -> None:
        """Publish and wait for the broker's confirm. Raises DeliveryError when it refuses."""
        await self._stream.write(lambda: self._frames(exchange, "", envelope))
        # Nothing else ran since it was written, so deliveries get the numbers that the broker gives them.
        self._channel.delivery_tag += 1
        confirmed = self._channel.create_future()
        self._channel.confirmations[self._channel.delivery_tag] = confirmed
        await confirmed

    def post(self, queue: str, envelope: Envelope) -> bool:
        """Send it at once; False when that can't be: wait with :meth:`send`."""
        return not self._channel.is_closed and self._stream.write_now(lambda: self._frames("", queue, envelope))

    async def send(self, queue: str, envelope: Envelope) -> None:
        await self._stream.write(lambda: self._frames("", queue, envelope))

    def _frames(self, exchange: str, routing_key: str, envelope: Envelope) -> bytes:
        if self._channel.is_closed:
            raise ChannelInvalidStateError("the channel is closed")
        number, body, size = self._channel.number, envelope.body, self._body_frame_bytes
        header = ContentHeader(body_size=len(body), properties=_properties(envelope))
        return b"".join(
            [
                _publish_frame(number, exchange, routing_key),
                marshal(header, number),
                *(marshal(ContentBody(body[start : start + size]), number) for start in range(0, len(body), size)),
            ]
        )


@lru_cache(maxsize=16)
def _publish_frame(number: int, exchange: str, routing_key: str) -> bytes:
    return marshal(Basic.Publish(exchange=exchange, routing_key=routing_key), number)


@asynccontextmanager
async def _at_most(timeout_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as error:
        raise BrokerLostError("the broker does not answer in time") from error


@contextmanager
def _broker_trouble() -> Iterator[None]:
    """Turn whatever aio-pika raises about a lost connection or channel into BrokerLostError."""
    try:
        yield
    except (ChannelAccessRefused, ChannelLockedResource) as error:
        reason = f"another process runs under this node's name, or its dead connection lingers ({error})"
        raise BrokerLostError(reason) from error
    except BrokerLostError:
        raise
    except Exception as error:
        # To those whom a closing connection interrupts, aiormq raises what comes to hand, a bare Exception included.
        raise BrokerLostError(str(error) or repr(error)) from error
    except asyncio.CancelledError as error:
        # aiormq cancels what waits on a channel that closes; only a cancellation of ours may pass.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise BrokerLostError("the channel closed") from error


async def _underlay(channel: AbstractChannel) -> aiormq.Channel:
    """The channel of aiormq that aio-pika's wraps."""
    underlay = await channel.get_underlay_channel()
    assert isinstance(underlay, aiormq.Channel)
    return underlay


def _envelope(header: ContentHeader, body: bytes) -> Envelope:
    properties = header.properties
    return Envelope(
        kind=properties.message_type or "",
        body=body,
        headers=properties.headers or {},
        message_id=properties.message_id,
        correlation_id=properties.correlation_id,
        reply_to=properties.reply_to,
    )


def _properties(envelope: Envelope) -> Basic.Properties:
    return Basic.Properties(
        headers=dict(envelope.headers),
        message_type=envelope.kind,
        message_id=envelope.message_id,
        correlation_id=envelope.correlation_id,
        reply_to=envelope.reply_to,
        expiration=None if envelope.expiration_s is None else f"{envelope.expiration_s * 1000:.0f}",
        delivery_mode=NOT_PERSISTENT,
    )


def _shown(url: str) -> str:
    return str(URL(url).with_user(None))
