"""Acks every delivery at once, as a secondary that need not write anything: the other end of the AMQP round trip.

Arguments: AMQP URL, queue. Its acks go to the queue that a delivery names in reply_to. It runs until it is ended.
"""

import asyncio
import sys

import aio_pika
import uvloop
from aio_pika.abc import AbstractIncomingMessage


async def echo(url: str, queue: str) -> None:
    """Serve for ever, over one connection that consumes and one that publishes, as a node has them."""
    async with await aio_pika.connect(url) as consuming, await aio_pika.connect(url) as publishing:
        acks = (await publishing.channel(publisher_confirms=False)).default_exchange
        inbound = await consuming.channel(publisher_confirms=False)

        async def ack(delivery: AbstractIncomingMessage) -> None:
            assert delivery.reply_to is not None
            message = aio_pika.Message(b"", correlation_id=delivery.message_id)
            await acks.publish(message, routing_key=delivery.reply_to, mandatory=False)

        await (await inbound.get_queue(queue, ensure=False)).consume(ack, no_ack=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(echo(*sys.argv[1:]))
