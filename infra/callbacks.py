"""Callbacks that nobody awaits, whose errors are raised all the same."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")


class Callbacks:
    """What an event loop's callbacks raise, it only logs: from here a task raises it, and what it belongs to ends."""

    def __init__(self) -> None:
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def failed(self) -> None:
        """Wait, for ever or until one of them has raised something, and raise that."""
        await self._failed

    def watched(self, callback: Callable[P, None]) -> Callable[P, None]:
        def call(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                callback(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - the loop would only log it, and the node go on without a part
                self.fail(error)

        return call

    def fail(self, error: Exception) -> None:
        """One of them was told of an error that nothing can go on after. The first one is raised."""
        if not self._failed.done():
            self._failed.set_exception(error)
