"""A client's connection without what is said on it: how long it may last, how much it may hold, and how it ends."""

import asyncio
import logging
import socket
from typing import Final, cast

from infra.http.budget import Budget
from infra.http.limits import Limits
from infra.http.problems import HttpProblem, log_refusal

LINGER_S: Final = 3.0
"""How long a refused client may go on sending, so that it finds time to read why."""

logger = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    """Closed when there is no request for long, when a head does not come to its end, or when answers are not taken.

    Invariants: once ``is_closing``, nothing that comes is looked at, and nothing is written. While ``is_free``, the
    connection is not closing, and no head's time is running.
    """

    __slots__ = (
        "_closed",
        "_head_timer",
        "_idle_timer",
        "_linger_timer",
        "_reads",
        "_stuck_timer",
        "_unsent",
        "budget",
        "held",
        "is_closing",
        "is_free",
        "is_writing_paused",
        "last_used_s",
        "limits",
        "loop",
        "wire",
    )

    def __init__(self, limits: Limits, budget: Budget) -> None:
        self.limits = limits
        self.budget = budget
        self.held = 0
        """Bytes of this connection in the budget."""
        self.loop = asyncio.get_running_loop()
        self.is_closing = False
        self.is_free = True
        """There is no request, nor the beginning of one, nor an answer that is not taken."""
        self.is_writing_paused = False
        """The client has not taken all that is to be sent."""
        self.last_used_s = self.loop.time()
        """When a request was answered here, by the loop's clock."""
        self.wire: asyncio.Transport
        self._closed: asyncio.Event | None = None
        """Made when somebody waits for it."""
        self._reads = True
        self._unsent = 0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._stuck_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.wire = cast(asyncio.Transport, transport)
        # So a paused protocol is one with bytes that the client has not taken, be they few or many.
        self.wire.set_write_buffer_limits(high=0)
        connected = self.wire.get_extra_info("socket")
        if connected is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._idle_timer = self.loop.call_later(self.limits.idle_s, self._close_if_idle)

    def connection_lost(self, _: Exception | None) -> None:
        self.is_closing = True
        self.is_free = False
        self.hold(0)
        if self._closed is not None:
            self._closed.set()
        for timer in (self._idle_timer, self._head_timer, self._stuck_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()

    def eof_received(self) -> None:
        """A client that sends no more counts as gone: its connection is closed, and its request not answered."""

    def pause_writing(self) -> None:
        self.is_writing_paused = True
        self._unsent = self.wire.get_write_buffer_size()
        self._stuck_timer = self.loop.call_later(self.limits.stuck_s, self._close_if_stuck)

    def resume_writing(self) -> None:
        self.is_writing_paused = False
        if self._stuck_timer is not None:
            self._stuck_timer.cancel()
            self._stuck_timer = None

    def read(self, *, reads: bool) -> None:
        """Go on reading what the client sends, or let it wait."""
        if reads is not self._reads and not self.wire.is_closing():
            self._reads = reads
            if reads:
                self.wire.resume_reading()
            else:
                self.wire.pause_reading()

    def hold(self, size: int) -> bool:
        """Count ``size`` bytes for this connection. False: there are too many, and as many are counted as before."""
        if not self.budget.move(size - self.held):
            return False
        self.held = size
        return True

    def await_head(self) -> None:
        """The first byte of a request has come: its head has its time from now on, unless that runs already."""
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.header_s, self._refuse_slow_head)

    def head_is_there(self) -> None:
        """No beginning of a head is here any more: none has its time running."""
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def end(self, problem: HttpProblem | None = None) -> None:
        """Close the connection, unless it is, with ``problem`` said before, and drop what was read of requests."""
        raise NotImplementedError

    def refuse(self, problem: HttpProblem) -> None:
        """Say why no request on this connection is answered any more, and close it."""
        log_refusal(problem)
        self.wire.write(problem.raw_response())
        self.close(lingers=True)

    def closed(self) -> asyncio.Event:
        """What is set when the connection is closed, and not before."""
        if self._closed is None:
            self._closed = asyncio.Event()
        return self._closed

    def abort(self) -> asyncio.Event:
        """Cut the connection off. Returned is what is set when that is done."""
        self.wire.abort()
        return self.closed()

    def close(self, *, lingers: bool = False) -> None:
        """Close the connection once all that was written is sent.

        ``lingers``: the client may be sending. Closed at once, the connection would be reset, and the answer lost.
        """
        if self.is_closing:
            return
        self.is_closing = True
        self.is_free = False
        self.head_is_there()
        if not lingers or self.wire.is_closing():
            self.wire.close()
            return
        self.wire.write_eof()
        self.read(reads=True)
        self._linger_timer = self.loop.call_later(LINGER_S, self.wire.abort)

    def _close_if_idle(self) -> None:
        left_s = self.last_used_s + self.limits.idle_s - self.loop.time()
        if not self.is_free:
            left_s = self.limits.idle_s
        elif left_s <= 0:
            self.close()
            return
        self._idle_timer = self.loop.call_later(left_s, self._close_if_idle)

    def _refuse_slow_head(self) -> None:
        self._head_timer = None
        detail = f"the header was not there after {self.limits.header_s:g} s"
        self.end(HttpProblem(408, "slow-header", detail, retry="safe"))

    def _close_if_stuck(self) -> None:
        unsent = self.wire.get_write_buffer_size()
        if unsent < self._unsent:
            self._unsent = unsent
            self._stuck_timer = self.loop.call_later(self.limits.stuck_s, self._close_if_stuck)
            return
        self._stuck_timer = None
        logger.info("closed a connection: of %d bytes none was taken in %g s", unsent, self.limits.stuck_s)
        self.wire.abort()
