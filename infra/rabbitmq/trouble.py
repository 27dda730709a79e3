"""The end of a session, and what makes it of the errors that aio-pika raises."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from aio_pika.exceptions import ChannelClosed

_TAKEN: Final = ("ACCESS_REFUSED", "RESOURCE_LOCKED")
"""How the broker begins to say that a queue, or its only consumer, is another connection's."""


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
    """Turn every error of the block, and a cancellation by aiormq, into BrokerLostError."""
    try:
        yield
    except BrokerLostError:
        raise
    except Exception as error:
        # What a closing connection interrupts, aiormq ends with errors of many kinds, a bare Exception included.
        reason = str(error) or repr(error)
        if isinstance(error, ChannelClosed) and reason.startswith(_TAKEN):
            reason = f"another process runs under this node's name, or its dead connection lingers ({reason})"
        raise BrokerLostError(reason) from error
    except asyncio.CancelledError as error:
        # aiormq cancels what waits on a channel that closes; only a cancellation of ours may pass.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise BrokerLostError("the channel closed") from error
