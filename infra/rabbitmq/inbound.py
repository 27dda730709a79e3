"""A channel that is consumed on, and what comes in by it."""

import logging
from collections.abc import Callable
from typing import Any

import aiormq
from aiormq.abc import DeliveredMessage
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from infra.rabbitmq.trouble import BrokerLostError, broker_trouble
from replicated_log.delivery import Envelope

logger = logging.getLogger(__name__)


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
            with broker_trouble():
                # No need to wait until it is sent: PREFETCH bounds how many there can be.
                await self._channel.basic_ack(self._tag, multiple=True, wait=False)
        except BrokerLostError as error:
            logger.debug("not settled, the session is over: %s", error)


class Inbound:
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
        channel.frames.put = self._put  # type: ignore[method-assign]  # the one place all frames pass

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
