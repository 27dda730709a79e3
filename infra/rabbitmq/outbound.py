"""A channel that is published on, and the frames that go out by it."""

from functools import lru_cache
from typing import Final

import aiormq
from aiormq.exceptions import ChannelInvalidStateError
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from infra.rabbitmq.stream import Stream
from replicated_log.delivery import MAX_DELIVERY_BYTES, Envelope

NOT_PERSISTENT: Final = 1


class Outbound:
    """A channel that deliveries are published on: written to the connection's stream at once.

    aiormq would hand each to a task that writes, and wait for that, which takes about as long as all the rest. Its
    channel still is what hears the broker's confirms, and ends the wait for them.
    """

    def __init__(self, channel: aiormq.Channel, stream: Stream) -> None:
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
