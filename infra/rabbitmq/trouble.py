"""The end of a session, and what makes it of the errors that aio-pika raises."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from aiormq.exceptions import ChannelAccessRefused, ChannelLockedResource


class BrokerLostError(Exception):
    """Raised by a session's methods: the session is over. What was published by it may have arrived, or may yet."""


@asynccontextmanager
async def at_most(timeout_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as error:
        raise BrokerLostError("the broker does not answer in time") from error


@contextmanager
def broker_trouble() -> Iterator[None]:
    """Turn whatever aio-pika raises about a lost connection or channel into BrokerLostError."""
    try:
        yield
    except (ChannelAccessRefused, ChannelLockedResource) as error:
        reason = f"another process runs under this node's name, or its dead connection lingers ({error})"
        raise BrokerLostError(reason) from error
    except BrokerLostError:
        raise
    except Exception as error:
        # To those whom a closing connection interrupts, aiormq raises what comes to hand, a bare Exception included.
        raise BrokerLostError(str(error) or repr(error)) from error
    except asyncio.CancelledError as error:
        # aiormq cancels what waits on a channel that closes; only a cancellation of ours may pass.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise BrokerLostError("the channel closed") from error
