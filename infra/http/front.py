"""The front of a client's connection: reads the heads of requests, and decides who handles each one."""

import asyncio
from typing import Final

from aiohttp import web

from infra.http.budget import Budget
from infra.http.direct import DirectRequests, Target
from infra.http.framing import BrokenBodyError, Chunks, Framing, Length
from infra.http.head import CHUNKED, Head, HeadReader, bad_request, without_empty_lines
from infra.http.known_heads import KnownHead
from infra.http.library import LibraryHalf
from infra.http.limits import Limits
from infra.http.problems import HttpProblem, log_refusal
from infra.http.raw import response_bytes
from infra.http.replying import ReplyingConnection

MAX_WAITING_BYTES: Final = 1 << 16
"""Of requests behind the one under way. A client that sends more waits until that is answered."""


class Front(ReplyingConnection):
    """A connection on which at most one request at a time is under way, handled directly or in the library's half.

    Invariants: the library is given whole requests only, each after the answer to the one before. While ``is_free``,
    no byte of a request is here and the client has taken all answers, so that a request may begin at once.
    """

    def __init__(
        self, server: web.Server, limits: Limits, direct: DirectRequests, budget: Budget, fronts: "set[Front]"
    ) -> None:
        """``fronts`` are all that are connected; ``direct`` and ``budget`` are theirs together."""
        super().__init__(limits, budget)
        self._server = server
        self._direct = direct
        self._fronts = fronts
        self._known: KnownHead[Target] | None = None
        """The last known head that came."""
        self._library: LibraryHalf | None = None
        self._library_reads = True
        self._rest = b""
        """What was read, and is not of the request under way."""
        self._reader: HeadReader | None = None
        """Has read some of ``_rest``."""
        self._goes_on = False
        """Requests are being begun, by a caller of this one."""
        self._last_words: HttpProblem | None = None
        """What the client is told behind the answer to the request under way."""
        self._stopped: asyncio.Event | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._fronts.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._fronts.discard(self)
        self._rest = b""
        if self._library is not None:
            self._library.protocol.connection_lost(exc)
        if self._stopped is not None:
            self._stopped.set()

    def data_received(self, data: bytes) -> None:
        refused = False
        if self.is_free:
            # Most clients send the same head all the time.
            body = None if self._known is None else self._known.body_in(data)
            if body is None:
                self._known = self._direct.heads.find(data)
                body = None if self._known is None else self._known.body_in(data)
            if self._known is not None and body is not None:
                target = self._known.meaning
            else:
                try:
                    keyed = self._direct.keyed_target(data)
                except HttpProblem as problem:
                    self.end(problem)
                    return
                if keyed is not None:
                    target, body = keyed
            if body is not None:
                if self.handled(target, body):
                    return
                refused = True
        self._receive(data, refused=refused)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.is_free = False
        if self._library is not None:
            self._library.protocol.pause_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._library is not None:
            self._library.protocol.resume_writing()
        self._go_on()

    def stop(self) -> asyncio.Event | None:
        """Close the connection: at once, or when the request under way is answered; what is returned is set then."""
        if self.is_closing or not self._is_busy():
            self.end()
            return None
        self._stopped = asyncio.Event()
        return self._stopped

    def request_ended(self, *, is_last: bool = False) -> None:
        """The answer to the request under way is written. Another one may begin, unless it ``is_last``."""
        self.last_used_s = self.loop.time()
        if is_last or self._last_words is not None or self._stopped is not None or self.is_closing:
            self.end(self._last_words)
        elif self._rest or self.held or self.is_paused or not self._library_reads:
            self._go_on()
        else:
            self.is_free = not self._goes_on

    def library_closes(self) -> None:
        self.end()

    def library_reads(self, *, reads: bool) -> None:
        self._library_reads = reads
        self.read(reads=self.is_closing or (reads and len(self._rest) <= MAX_WAITING_BYTES))

    def library_releases(self) -> None:
        self.hold(len(self._rest))

    def _is_busy(self) -> bool:
        return self.is_replying or (self._library is not None and self._library.under_way is not None)

    def _receive(self, data: bytes, *, refused: bool) -> None:
        if self.is_closing or self._last_words is not None:
            return
        library = self._library
        if library is not None and library.under_way is not None and not library.under_way.has_ended:
            taken = self._continue_body(library, library.under_way, data)
            data = data[taken:]
        self._rest = self._rest + data if self._rest else data
        self._go_on(refused=refused)

    def _continue_body(self, library: LibraryHalf, framing: Framing, data: bytes) -> int:
        """Give the library what is there of a body; returns how much of ``data`` that was."""
        if library.is_broken:
            return len(data)
        try:
            taken = framing.take(data, 0)
        except BrokenBodyError as error:
            library.break_body(web.RequestPayloadError(str(error)))
            return len(data)
        if not self.hold(library.held + taken):
            library.break_body(self.budget.overloaded())
            return len(data)
        library.go_on(data[:taken])
        return taken

    def _go_on(self, *, refused: bool = False) -> None:
        """Begin requests until one is under way, or more bytes are needed. ``refused``: the first one was, directly."""
        if self._goes_on:
            return
        self._goes_on = True
        try:
            while self._rest and not (self._is_busy() or self.is_paused or self.is_closing):
                if not self._begin(refused=refused):
                    break
                refused = False
        except HttpProblem as problem:
            self.end(problem)
        finally:
            self._goes_on = False
        if not self.is_closing:
            self._settle()

    def _settle(self) -> None:
        """Bring what follows from the bytes at hand up to date, and drop them when there are too many of them."""
        is_busy = self._is_busy()
        library_held = 0 if self._library is None else self._library.held
        size = library_held + len(self._rest)
        if size != self.held and not self.hold(size):
            problem = self.budget.overloaded()
            if not is_busy:
                self.end(problem)
                return
            self._last_words = problem
            self._rest = b""
        self.is_free = not (is_busy or self._rest or self.is_paused)
        if not self._rest:
            self.head_is_there()
        elif not is_busy and not self.is_paused:
            self.await_head()
        self.read(reads=self._library_reads and len(self._rest) <= MAX_WAITING_BYTES)

    def _begin(self, *, refused: bool) -> bool:
        """Begin the request at the beginning of what is there. False: more of it must come before. Raises HttpProblem.

        ``refused``: its direct handler has left it to the library.
        """
        if self._reader is None:
            self._rest = without_empty_lines(self._rest)
            if self._rest in {b"", b"\r"}:
                return False
            if (known := self._direct.other(self._rest)) is not None:
                self.head_is_there()
                self._begin_in_library(known, self._rest)
                return True
            self._reader = HeadReader(self.limits)
        head = self._reader.read(self._rest)
        if head is None:
            return False
        self._reader = None
        self.head_is_there()
        data = self._rest
        target = None if refused else self._direct.target(head, data)
        if target is not None:
            size = head.size + head.body_bytes
            self._rest = data[size:]
            if self.handled(target, data[head.size : size]):
                return True
        self._begin_in_library(head, data)
        return True

    def _begin_in_library(self, head: Head, data: bytes) -> None:
        framing: Framing = Chunks() if head.body_bytes == CHUNKED else Length(head.body_bytes)
        try:
            size = head.size + framing.take(data, head.size)
        except BrokenBodyError as error:
            raise bad_request(str(error)) from error
        self._rest = data[size:]
        if not self.hold(len(data)):
            self._refuse_one(head, framing)
            return
        if self._library is None:
            self._library = LibraryHalf(self, self.wire, self._server)
        self._library.begin(framing, data[:size])

    def _refuse_one(self, head: Head, framing: Framing) -> None:
        """Refuse a request for which there is no memory. When it is there as a whole, others may follow."""
        problem = self.budget.overloaded()
        if not framing.has_ended or not head.is_plain or head.method == "HEAD":
            raise problem
        log_refusal(problem, head.method, head.target)
        self.wire.write(response_bytes(problem.status, problem.raw_headers(), problem.body()))
        self.last_used_s = self.loop.time()

    def end(self, problem: HttpProblem | None = None) -> None:
        """Close the connection, unless it is, once what was written is sent, ``problem`` behind that."""
        self.is_free = False
        self._rest = b""
        self._reader = None
        if problem is not None and not self.is_closing:
            self.refuse(problem)
        else:
            self.close(lingers=self._library is not None and self._library.is_body_missing)
        self.hold(0)
        if self._stopped is not None:
            self._stopped.set()
