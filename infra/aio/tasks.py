"""Tasks that run beside a block of code, and the errors that groups of them raise."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def beside(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run ``coroutine`` while the block runs, and cancel it after. If it fails, the block is cancelled."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(coroutine)
        yield
        task.cancel()


def first_leaf(error: BaseException) -> BaseException:
    """The first exception in a group of groups; an exception that is no group is its own leaf."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
