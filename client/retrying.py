"""Trying again, when that can't do harm: less and less often, and not for ever."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from client.errors import EndMismatchError, KeyReusedError, NoConnectionError, NodeError

T = TypeVar("T")

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
"""A master that restarts is back within seconds, so a longer pause would only lose time."""


def pauses_s() -> Iterator[float]:
    """How long to wait before each further attempt; random, so that the clients of a node that was away spread."""
    longest = _FIRST_PAUSE_S
    while True:
        yield longest * random.uniform(0.5, 1.0)
        longest = min(2 * longest, _LONGEST_PAUSE_S)


async def retried(attempt: Callable[[float], Awaitable[T]], timeout_s: float, *, wait_until_up: bool) -> T:
    """What `attempt` returns; it is given the seconds left, and called again after errors that say it may be.

    It is also called again after the error that too few nodes hold the messages, while there is time: a master that
    stops says so early, and the next attempt goes on waiting.

    Raises the last error, or one before it that knew more of the messages: once `timeout_s` is over, after an error
    that forbids another attempt, or, unless `wait_until_up`, when the first attempt finds no connection.
    """
    give_up_at = time.monotonic() + timeout_s
    connected = wait_until_up
    before: NodeError | None = None
    for backoff_s in pauses_s():
        left_s = give_up_at - time.monotonic()
        try:
            return await attempt(left_s)
        except NodeError as error:
            connected = connected or not isinstance(error, NoConnectionError)
            pause_s = max(backoff_s, error.retry_after_s)
            if error.retry == "no" or not connected or time.monotonic() + pause_s >= give_up_at:
                raise _last_word(error, before) from None
            if error.appended == "yes" or (error.appended == "unknown" and before is None):
                before = error
        await asyncio.sleep(pause_s)
    raise AssertionError("pauses never end")


def _last_word(error: NodeError, before: NodeError | None) -> NodeError:
    """What is known in the end, after an attempt `before` of which it is known, or may be, that it appended."""
    if before is None or error.appended == "yes":
        return error
    if before.appended == "yes":
        return before
    # A node looks a key up before it says these two: then no attempt has appended.
    if error.appended == "no" and not isinstance(error, KeyReusedError | EndMismatchError):
        error.appended = "unknown"
    return error
