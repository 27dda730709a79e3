"""A channel on which queues are consumed, and what comes in by it."""

from collections.abc import Callable

import aiormq

from infra.rabbitmq.fast.frames import (
    DELIVER,
    HEADER,
    METHOD,
    read_body_size,
    read_deliver,
    read_envelope,
    settled_up_to,
)
from infra.rabbitmq.fast.stream import Stream
from infra.rabbitmq.transport import Ended
from replicated_log.wire.delivery import Envelope


class FastReceived:
    """A delivery as it came in; to be settled once it is finished with."""

    __slots__ = ("_inbound", "_number", "envelope")

    def __init__(self, inbound: "FastInbound", number: int, envelope: Envelope) -> None:
        self._inbound = inbound
        self._number = number
        self.envelope = envelope

    def settle_up_to(self) -> None:
        """Settle this delivery and every earlier one of its session. On a session that is over, nothing happens."""
        self._inbound.settle_up_to(self._number)


class FastInbound:
    """Puts a delivery's frames together, and hands it over in the turn of the event loop in which the last one comes.

    Frames that belong to no delivery are left to aiormq's channel. A delivery whose properties make no sense is handed
    over as one of no known kind. ``ended`` is told when frames make no delivery: nothing of use can come after them.
    """

    def __init__(self, channel: aiormq.Channel, stream: Stream, ended: Ended) -> None:
        self._channel = channel
        self._stream = stream
        self._ended = ended
        self._receivers: dict[str, Callable[[FastReceived], None]] = {}
        self._deliver = ("", 0)
        self._header = b""
        self._pieces: list[bytes] = []
        self._missing = 0
        stream.incoming.take(channel.number, self._take)

    async def consume(self, queue: str, receive: Callable[[FastReceived], None], *, settled: bool) -> None:
        async def never(_: object) -> None:
            raise AssertionError("aiormq sees no delivery")

        self._receivers[queue] = receive
        await self._channel.basic_consume(queue, never, no_ack=settled, exclusive=True, consumer_tag=queue)

    def settle_up_to(self, number: int) -> None:
        if not self._channel.is_closed:
            # The channel's prefetch bounds how many can wait.
            self._stream.write(lambda: settled_up_to(self._channel.number, number))

    def _take(self, kind: int, payload: bytes) -> bool:
        if kind == METHOD and not payload.startswith(DELIVER):
            return False
        try:
            self._take_piece(kind, payload)
        except ValueError as error:
            self._ended(f"a delivery that can't be read: {error}")
        return True

    def _take_piece(self, kind: int, payload: bytes) -> None:
        if kind == METHOD:
            self._deliver, self._pieces = read_deliver(payload), []
            return
        if kind == HEADER:
            self._missing, self._header = read_body_size(payload), payload
        else:
            self._pieces.append(payload)
            self._missing -= len(payload)
        if self._missing <= 0:
            queue, number = self._deliver
            body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces = []
            self._receivers[queue](FastReceived(self, number, _envelope(self._header, body)))


def _envelope(header: bytes, body: bytes) -> Envelope:
    try:
        return read_envelope(header, body)
    except ValueError as error:
        return Envelope(f"(unreadable: {error})", body)
