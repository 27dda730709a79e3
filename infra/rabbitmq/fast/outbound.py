"""A channel on which deliveries are published, and the frames that go out by it."""

from collections.abc import Callable

import aiormq

from infra.rabbitmq.fast.frames import ACK, METHOD, NACK, publish_frames, read_confirm
from infra.rabbitmq.fast.stream import Stream
from infra.rabbitmq.transport import Ended
from replicated_log.wire.delivery import MAX_DELIVERY_BYTES, Envelope


class FastOutbound:
    """Writes deliveries to the connection's stream at once.

    aiormq hands each to a task that writes, and waits for that task, which takes about as long as all the rest of the
    delivery's way. ``ended`` is told when a confirm makes no sense.
    Invariant: a delivery has the number that the broker gives it, and is in ``_unconfirmed`` until that is confirmed.
    """

    def __init__(self, channel: aiormq.Channel, stream: Stream, ended: Ended) -> None:
        self._channel = channel
        self._stream = stream
        self._ended = ended
        self._published = 0
        self._unconfirmed: dict[int, Callable[[bool], None]] = {}
        limit = channel.max_content_size
        self._piece_bytes = limit if limit > 0 else MAX_DELIVERY_BYTES  # A broker's frame_max of 0 is no limit.
        if channel.publisher_confirms:
            stream.incoming.take(channel.number, self._take)

    def publish(self, exchange: str, envelope: Envelope, confirmed: Callable[[bool], None]) -> None:
        self._published += 1
        self._unconfirmed[self._published] = confirmed
        self._stream.write(lambda: self._frames(exchange, "", envelope))

    def post(self, queue: str, envelope: Envelope) -> bool:
        return not self._channel.is_closed and self._stream.write_now(lambda: self._frames("", queue, envelope))

    async def send(self, queue: str, envelope: Envelope) -> None:
        await self._stream.written(lambda: self._frames("", queue, envelope))

    def forget(self) -> None:
        self._unconfirmed.clear()

    def _take(self, kind: int, payload: bytes) -> bool:
        """Hear the broker's confirms."""
        if kind != METHOD or not payload.startswith((ACK, NACK)):
            return False
        try:
            number, multiple = read_confirm(payload)
        except ValueError as error:
            self._ended(f"a confirm that can't be read: {error}")
            return True
        numbers = [earlier for earlier in self._unconfirmed if earlier <= number] if multiple else [number]
        for confirmed in [self._unconfirmed.pop(number, None) for number in numbers]:
            if confirmed is not None:
                confirmed(payload.startswith(ACK))
        return True

    def _frames(self, exchange: str, routing_key: str, envelope: Envelope) -> bytes:
        if self._channel.is_closed:
            return b""  # So is the session, then.
        return publish_frames(self._channel.number, exchange, routing_key, envelope, self._piece_bytes)
