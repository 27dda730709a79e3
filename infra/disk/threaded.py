"""A thread on which the event loop has functions called."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

T = TypeVar("T")

logger = logging.getLogger(__name__)


class _NobodyWaitsError(Exception):
    """Raised instead of a call whose caller was cancelled before its turn came."""


class Threaded:
    """One thread, which calls functions one after the other: an object that only they use lives on it.

    As an executor with one thread, but at two thirds of the cost: it is on the way of every commit.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def begin(
        self, function: Callable[[], T], done: Callable[[T], None], failed: Callable[[BaseException], None]
    ) -> None:
        """Call ``function`` on the thread, after earlier calls; then ``done`` or ``failed``, on this event loop."""
        loop = asyncio.get_running_loop()

        def call() -> None:
            try:
                value = function()
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                loop.call_soon_threadsafe(failed, error)
            else:
                loop.call_soon_threadsafe(done, value)

        self._calls.put(call)

    async def call(self, function: Callable[[], T]) -> T:
        """Call ``function`` on the thread. When the caller is cancelled, a call that has begun still ends."""
        return await self._called(function)

    async def end(self, close: Callable[[], None]) -> None:
        """Call ``close`` after all earlier calls, and end the thread."""
        closed = self._called(close)
        self._calls.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        await closed

    def _called(self, function: Callable[[], T]) -> asyncio.Future[T]:
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def call() -> T:
            if result.cancelled():
                raise _NobodyWaitsError
            return function()

        self.begin(call, partial(_succeed, result), partial(_fail, result))
        return result

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            # Otherwise the objects that it holds would stay in memory until the next call.
            del call


def _succeed(result: asyncio.Future[T], value: T) -> None:
    if not result.done():
        result.set_result(value)


def _fail(result: asyncio.Future[T], error: BaseException) -> None:
    if not result.done():
        result.set_exception(error)
    elif not isinstance(error, _NobodyWaitsError):
        logger.error("nobody waits any more for what has failed: %r", error)
