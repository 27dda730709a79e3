"""Callbacks that nobody awaits, whose errors are raised all the same."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")

logger = logging.getLogger(__name__)


class Callbacks:
    """An event loop only logs what its callbacks raise. Here a task raises it, so that the task's group ends."""

    def __init__(self) -> None:
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_over = False

    async def failed(self) -> None:
        """Wait, for ever or until one of them has raised something, and raise the first such error."""
        try:
            await self._failed
        finally:
            self._is_over = True

    def watched(self, callback: Callable[P, None]) -> Callable[P, None]:
        """As ``callback``, but its errors are raised by :meth:`failed`."""

        def call(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                callback(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - the loop would only log it, and the node go on without a part
                self._fail(error)

        return call

    def _fail(self, error: Exception) -> None:
        if self._is_over or self._failed.done():
            # A disk may well fail in several places at once. Anything else is a bug.
            trace = None if isinstance(error, OSError | sqlite3.Error) else error
            logger.error("when the node was about to end already: %r", error, exc_info=trace)
        else:
            self._failed.set_exception(error)
