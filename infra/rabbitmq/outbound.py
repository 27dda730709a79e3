"""A channel that is published on, and the frames that go out by it."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import aiormq
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.frame import marshal, unmarshal
from pamqp.header import ContentHeader

from infra.rabbitmq.incoming import INDEX, METHOD
from infra.rabbitmq.stream import Stream
from replicated_log.delivery import MAX_DELIVERY_BYTES, Envelope

NOT_PERSISTENT: Final = 1
_ACK: Final = bytes((0, 60, 0, 80))
_NACK: Final = bytes((0, 60, 0, 120))


class Outbound:
    """A channel that deliveries are published on: written to the connection's stream at once.

    aiormq would hand each to a task that writes, and wait for that, which takes about as long as all the rest.
    Invariant: a delivery has the number that the broker gives it, and is in ``_unconfirmed`` until that is confirmed.
    """

    def __init__(self, channel: aiormq.Channel, stream: Stream) -> None:
        self._channel = channel
        self._stream = stream
        self._published = 0
        self._unconfirmed: dict[int, Callable[[bool], None]] = {}
        limit = channel.max_content_size
        self._body_frame_bytes = limit if limit > 0 else MAX_DELIVERY_BYTES  # A broker's frame_max of 0 is no limit.
        if channel.publisher_confirms:
            stream.incoming.take(channel.number, self._take)

    def publish(self, exchange: str, envelope: Envelope, confirmed: Callable[[bool], None]) -> None:
        """Publish in the order of the calls; ``confirmed`` is told whether the broker has taken it, or refused."""
        self._published += 1
        self._unconfirmed[self._published] = confirmed
        self._stream.write(lambda: self._frames(exchange, "", envelope))

    def post(self, queue: str, envelope: Envelope) -> bool:
        """Send it at once; False when that can't be: wait with :meth:`send`."""
        return not self._channel.is_closed and self._stream.write_now(lambda: self._frames("", queue, envelope))

    async def send(self, queue: str, envelope: Envelope) -> None:
        """Send it, and wait until there is room for more."""
        self._stream.write(lambda: self._frames("", queue, envelope))
        await self._stream.drained()

    def _take(self, kind: int, frame: memoryview) -> bool:
        """Hear the broker's confirms."""
        if kind != METHOD or bytes(frame[INDEX]) not in {_ACK, _NACK}:
            return False
        _, _, confirm = unmarshal(bytes(frame))
        assert isinstance(confirm, Basic.Ack | Basic.Nack)
        tag = confirm.delivery_tag or 0
        numbers = [number for number in self._unconfirmed if number <= tag] if confirm.multiple else [tag]
        for number in numbers:
            if (confirmed := self._unconfirmed.pop(number, None)) is not None:
                confirmed(isinstance(confirm, Basic.Ack))
        return True

    def _frames(self, exchange: str, routing_key: str, envelope: Envelope) -> bytes:
        if self._channel.is_closed:
            return b""  # So is the session, then.
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
