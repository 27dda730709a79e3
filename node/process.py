"""A node as a process: its log lines, its signals, its exit code."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import uvloop

from infra.aio.tasks import first_leaf
from node.log_lines import LogLines
from replicated_log.wire.errors import CorruptLogError, DiskFullError, LogInUseError, WrongLogError

SWITCH_S: Final = 0.0002
"""How long a thread that is done with the disk waits for a busy one to yield the interpreter; Python's own is 5 ms."""

GC_ALLOCATIONS: Final = 10_000
"""New objects after which Python looks for reference cycles, of which there are hardly any here; its own is 700."""

logger = logging.getLogger(__name__)


def run_process(run: Callable[[asyncio.Event], Coroutine[Any, Any, None]], *, log_level: str, if_corrupt: str) -> int:
    """Run a node until SIGTERM or SIGINT sets the event it is given. Returns the process's exit code.

    ``if_corrupt`` tells an operator how this node gets a sound log again.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(LogLines())
    logging.basicConfig(level=log_level.upper(), handlers=[handler])
    # These two log each reconnection several times; infra.rabbitmq logs it once.
    for name in ("aio_pika", "aiormq"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(GC_ALLOCATIONS)
    exit_code = 0
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signal(run))
    except* CorruptLogError as group:
        logger.critical("the process ends: %s; %s", first_leaf(group), if_corrupt)
        exit_code = 1
    except* (LogInUseError, WrongLogError, DiskFullError, OSError) as group:
        logger.critical("the process ends: %s", first_leaf(group))
        exit_code = 1
    return exit_code


async def _until_signal(run: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(stop)
    logger.info("stopped")
