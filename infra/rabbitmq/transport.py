"""What carries deliveries over one connection with the broker: the interface that `plain` and `fast` share.

They differ in how a delivery is published, consumed and settled. Both use a connection and channels of aio-pika's, and
what is declared on these is declared in one place for both: see `session`.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from aio_pika.abc import AbstractChannel, AbstractConnection
from yarl import URL

from replicated_log.timings import Timings
from replicated_log.wire.delivery import Envelope

Ended = Callable[[str], None]
"""Is told, with the reason, that the session can't go on. It may be told several times."""


class Received(Protocol):
    """A delivery as it came in. It is settled once it is finished with."""

    @property
    def envelope(self) -> Envelope: ...

    def settle_up_to(self) -> None:
        """Settle this delivery and every earlier one of its channel. Once the session is over, nothing happens."""


class Outbound(Protocol):
    """A channel on which deliveries are published. A delivery for which no queue is bound vanishes."""

    def publish(self, exchange: str, envelope: Envelope, confirmed: Callable[[bool], None]) -> None:
        """Publish in the order of the calls. ``confirmed`` is told True when the broker took it, False if it refused.

        The channel must confirm what is published on it. The caller bounds how many deliveries are unconfirmed. Once
        the session is over, ``confirmed`` may be told nothing.
        """

    def post(self, queue: str, envelope: Envelope) -> bool:
        """Send to one queue, unconfirmed, without waiting. False: nothing is sent, and :meth:`send` would wait."""

    async def send(self, queue: str, envelope: Envelope) -> None:
        """Send to one queue, unconfirmed, as soon as the connection takes it."""

    def forget(self) -> None:
        """The session is over: keep nothing in memory that was on its way."""


class Inbound(Protocol):
    """A channel on which queues are consumed."""

    async def consume(self, queue: str, receive: Callable[[Received], None], *, settled: bool) -> None:
        """Hand every delivery of ``queue`` to ``receive``, in the order in which the broker sends them.

        The caller sets the channel's prefetch, which bounds how many deliveries are unsettled. The queue may have no
        other consumer. ``settled``: the broker takes each delivery for settled as it sends it. A delivery whose
        properties make no sense is handed over with a kind that says so, or costs the session, where the library below
        can't read it; but not the next session too. Where ``settled`` is False, what the queue held before may be lost.
        ``ended`` is told when the broker ends the consumer.
        """


class Transport(Protocol):
    """One connection with the broker."""

    @property
    def connection(self) -> AbstractConnection: ...

    async def connect(self) -> None:
        """Connect; to be called once."""

    async def close(self) -> None:
        """Close politely for ``close_s`` at most, then by force. Also a connection that was never up is closed."""

    async def outbound(self, channel: AbstractChannel, tasks: asyncio.TaskGroup, ended: Ended) -> Outbound:
        """For a channel of this connection that is open. ``tasks`` are cancelled before the connection is closed."""

    async def inbound(self, channel: AbstractChannel, tasks: asyncio.TaskGroup, ended: Ended) -> Inbound:
        """As :meth:`outbound`."""


NewTransport = Callable[[URL, Timings], Transport]
"""Makes a transport for a connection to this address; nothing is connected yet."""
