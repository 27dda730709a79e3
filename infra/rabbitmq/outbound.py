"""A channel that is published on, and the frames that go out by it."""

from collections.abc import Callable

import aiormq

from infra.rabbitmq.frames import ACK, METHOD, NACK, publish_frames, read_confirm
from infra.rabbitmq.stream import Stream
from replicated_log.wire.delivery import MAX_DELIVERY_BYTES, Envelope


class Outbound:
    """A channel that deliveries are published on: written to the connection's stream at once.

    aiormq would hand each to a task that writes, and wait for that, which takes about as long as all the rest.
    ``unreadable`` is told of a confirm that makes no sense.
    Invariant: a delivery has the number that the broker gives it, and is in ``_unconfirmed`` until that is confirmed.
    """

    def __init__(self, channel: aiormq.Channel, stream: Stream, unreadable: Callable[[str], None]) -> None:
        self._channel = channel
        self._stream = stream
        self._unreadable = unreadable
        self._published = 0
        self._unconfirmed: dict[int, Callable[[bool], None]] = {}
        limit = channel.max_content_size
        self._piece_bytes = limit if limit > 0 else MAX_DELIVERY_BYTES  # A broker's frame_max of 0 is no limit.
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
        """Wait until there is room, and send it."""
        await self._stream.written(lambda: self._frames("", queue, envelope))

    def forget(self) -> None:
        """The session is over: nobody is told any more."""
        self._unconfirmed.clear()

    def _take(self, kind: int, payload: bytes) -> bool:
        """Hear the broker's confirms."""
        if kind != METHOD or not payload.startswith((ACK, NACK)):
            return False
        try:
            number, multiple = read_confirm(payload)
        except ValueError as error:
            self._unreadable(f"a confirm that can't be read: {error}")
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
