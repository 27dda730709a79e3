"""The limit of the broker: a message to another process and an ack back, the way that a node's take."""

import asyncio
import secrets
import sys
import time
from pathlib import Path
from typing import Final

import aio_pika
import uvloop
from aio_pika.abc import AbstractIncomingMessage

from tests.bench.children import Children
from tests.bench.latencies import load_of
from tests.bench.limits import echo
from tests.bench.load import Load, LoadError
from tests.bench.ours import MESSAGE

_WARM_UP: Final = 20
"""Round trips that do not count; the first waits for the other process to be there."""
_PATIENCE_S: Final = 30.0


def amqp_round_trip(amqp_url: str, directory: Path, seconds: float) -> Load:
    """Publish 100 bytes to a fanout exchange, and await the ack that a second process sends to a reply queue.

    One round trip after another for ``seconds``, over one connection that publishes and one that consumes, without
    waiting for confirms; nothing is written to a disk. ``directory`` is for the second process's output. Raises
    LoadError when an ack does not come, or is for another message.
    """
    directory.mkdir(parents=True, exist_ok=True)
    name = f"bench.{secrets.token_hex(4)}"
    other = Children(directory)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_round_trips(amqp_url, name, seconds, other))
    finally:
        other.stop()


async def _round_trips(url: str, name: str, seconds: float, other: Children) -> Load:
    async with await aio_pika.connect(url) as publishing, await aio_pika.connect(url) as consuming:
        outbound = await publishing.channel(publisher_confirms=False)
        exchange = await outbound.declare_exchange(name, aio_pika.ExchangeType.FANOUT, auto_delete=True)
        inbound = await consuming.channel(publisher_confirms=False)
        # Durable as a node's; gone when the second process is.
        queue = await inbound.declare_queue(name, durable=True, auto_delete=True)
        await queue.bind(exchange)
        replies = await inbound.declare_queue(f"{name}.acks", exclusive=True)
        acks: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        await replies.consume(acks.put, no_ack=True)
        other.start("echo", [sys.executable, "-P", echo.__file__, url, name])

        async def round_trip(number: int) -> float:
            began = time.perf_counter()
            message = aio_pika.Message(MESSAGE.encode(), message_id=f"{number}", reply_to=replies.name)
            await exchange.publish(message, routing_key="", mandatory=False)
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    ack = await acks.get()
            except TimeoutError as error:
                raise LoadError(f"the second process has not acked message {number}") from error
            if ack.correlation_id != f"{number}":
                raise LoadError(f"an ack of message {ack.correlation_id} came for message {number}")
            return time.perf_counter() - began

        for number in range(_WARM_UP):
            await round_trip(number)
        began = time.perf_counter()
        latencies_s: list[float] = []
        while time.perf_counter() < began + seconds:
            latencies_s.append(await round_trip(_WARM_UP + len(latencies_s)))
        return load_of(latencies_s, seconds=time.perf_counter() - began)
