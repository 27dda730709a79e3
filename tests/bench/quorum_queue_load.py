"""Load on a quorum queue, in a process of its own: many publish to it, and each waits for the confirm of its message.

Arguments: AMQP URL, queue, message, clients, seconds. The queue is made for it, and deleted in the end. One line of
JSON comes out: the latency of each publish and the time all took, in seconds.
"""

import json
import sys
import time
from asyncio import TaskGroup
from typing import Final

import aio_pika
import uvloop
from aio_pika.abc import AbstractExchange
from pamqp.commands import Basic
from pamqp.common import FieldTable

ARGUMENTS: Final[FieldTable] = {"x-queue-type": "quorum", "x-quorum-initial-group-size": 3}
_CHANNELS: Final = 4
"""Of one connection: RabbitMQ holds a channel up that has more than 32 messages on their way to a quorum queue."""


class NotHeldError(RuntimeError):
    """A message was returned instead of confirmed, or the queue does not hold just what was confirmed."""


async def load(url: str, queue: str, message: bytes, clients: int, seconds: float) -> tuple[list[float], float]:
    """The latencies, and the time from the first publish to the last confirm. Raises NotHeldError."""
    latencies_s: list[float] = []
    async with await aio_pika.connect(url) as connection:
        channels = [await connection.channel() for _ in range(min(_CHANNELS, clients))]
        # Declared here, it has its leader on the node that everything is published to.
        await channels[0].declare_queue(queue, durable=True, arguments=ARGUMENTS)
        try:
            began = time.perf_counter()
            async with TaskGroup() as tasks:
                for client in range(clients):
                    exchange = channels[client % len(channels)].default_exchange
                    tasks.create_task(_publish(exchange, queue, message, began + seconds, latencies_s))
            took_s = time.perf_counter() - began
            held = (await channels[0].declare_queue(queue, passive=True)).declaration_result.message_count
        finally:
            await channels[0].queue_delete(queue)
    if held != len(latencies_s):
        raise NotHeldError(f"{len(latencies_s)} messages were confirmed, but the queue holds {held}")
    return latencies_s, took_s


async def _publish(
    exchange: AbstractExchange, queue: str, body: bytes, deadline: float, latencies_s: list[float]
) -> None:
    """One message after another until ``deadline``, of time.perf_counter; a nack is raised by aio-pika."""
    while (began := time.perf_counter()) < deadline:
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        confirm = await exchange.publish(message, routing_key=queue)
        if not isinstance(confirm, Basic.Ack):
            raise NotHeldError(f"the broker has returned a message: {confirm!r}")
        latencies_s.append(time.perf_counter() - began)


def main() -> None:
    url, queue, message, clients, seconds = sys.argv[1:]
    latencies_s, took_s = uvloop.run(load(url, queue, message.encode(), int(clients), float(seconds)))
    print(json.dumps({"latencies_s": latencies_s, "took_s": took_s}))


if __name__ == "__main__":
    main()
