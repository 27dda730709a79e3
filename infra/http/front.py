"""The front of a client's connection: reads the heads of requests, and decides who handles each one."""

import asyncio
from typing import Final

from aiohttp import web

from infra.http.budget import Budget, overloaded
from infra.http.direct import DirectRequests, Target
from infra.http.framing import BrokenBodyError, Chunks, Framing, Length
from infra.http.head import CHUNKED, MAX_HEAD_BYTES, Head, HeadReader, bad_request, behind_empty_lines
from infra.http.known_heads import KnownHead
from infra.http.library import LibraryHalf
from infra.http.limits import Limits
from infra.http.long_requests import stopping
from infra.http.problems import HttpProblem, log_refusal
from infra.http.raw import response_bytes
from infra.http.replying import ReplyingConnection
from infra.http.unhandled import Unhandled

MAX_BEGUN_AT_ONCE: Final = 64
"""Requests of one client that are begun before others have their turn."""
MAX_WAITING_BYTES: Final = 1 << 20
"""Of requests behind the one under way. When a client sends more, none of them is handled."""


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
        self._unhandled = Unhandled()
        self._reader: HeadReader | None = None
        """Has read some of what is unhandled."""
        self._is_beginning = False
        """Requests are being begun, by a caller of this one."""
        self._next_turn: asyncio.Handle | None = None
        """When more of the requests at hand are begun; until then nothing is read."""
        self._problem_after_answer: HttpProblem | None = None
        """What the client is told behind the answer to the request under way."""
        self._is_stopping = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._fronts.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fronts.discard(self)
        self._unhandled.clear()
        try:
            super().connection_lost(exc)
        finally:
            if self._library is not None:
                self._library.protocol.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        left_to_library = False
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
                left_to_library = True
        self._receive(data, left_to_library=left_to_library)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.is_free = False
        if self._library is not None:
            self._library.protocol.pause_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._library is not None:
            self._library.protocol.resume_writing()
        self._begin_requests()

    def stop(self) -> asyncio.Event:
        """Close the connection: at once, or when the request under way is answered. Returned is what is set then.

        A body that has not come to its end is waited for no longer: its reader gets HttpProblem (503).
        """
        if not self._is_stopping:
            self._is_stopping = True
            library = self._library
            if not self._is_busy():
                self.end()
            elif library is not None and library.is_body_missing and not library.is_broken:
                library.break_body(stopping())
        return self.closed()

    def request_ended(self, *, is_last: bool = False) -> None:
        """The answer to the request under way is written. Another one may begin, unless it ``is_last``."""
        self.last_used_s = self.loop.time()
        if is_last or self._problem_after_answer is not None or self._is_stopping or self.is_closing:
            self.end(self._problem_after_answer)
        elif self._is_beginning:
            pass
        elif self._unhandled.data or self.held or self.is_writing_paused or not self._library_reads:
            self._begin_requests()
        else:
            self.is_free = True

    def library_closes(self) -> None:
        self.end()

    def library_reads(self, *, reads: bool) -> None:
        self._library_reads = reads
        self.read(reads=self.is_closing or self._has_room())

    def library_releases(self) -> None:
        self.hold(len(self._unhandled))

    def _is_busy(self) -> bool:
        return self.is_replying or (self._library is not None and self._library.under_way is not None)

    def _has_room(self) -> bool:
        """Whether more is to be read of what the client sends."""
        return self._library_reads and self._next_turn is None and len(self._unhandled) <= MAX_WAITING_BYTES

    def _receive(self, data: bytes, *, left_to_library: bool) -> None:
        if self.is_closing or self._problem_after_answer is not None:
            return
        library = self._library
        if library is not None and library.under_way is not None and not library.under_way.has_ended:
            taken = self._continue_body(library, library.under_way, data)
            data = data[taken:]
        self._unhandled.append(data)
        self._begin_requests(left_to_library=left_to_library)

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
        library.give_body(data[:taken])
        return taken

    def _begin_requests(self, *, left_to_library: bool = False) -> None:
        """Begin requests until one is under way, more bytes are needed, or others are to have their turn.

        ``left_to_library``: the direct handler of the first one has left it to the library.
        """
        if self._is_beginning:
            return
        if self._next_turn is None:
            self._is_beginning = True
            try:
                self._begin_some(left_to_library=left_to_library)
            except HttpProblem as problem:
                self.end(problem)
            finally:
                self._is_beginning = False
        if not self.is_closing:
            self._settle()

    def _begin_some(self, *, left_to_library: bool) -> None:
        for _ in range(MAX_BEGUN_AT_ONCE):
            if not self._unhandled or self._is_busy() or self.is_writing_paused or self.is_closing:
                return
            if not self._begin(left_to_library=left_to_library):
                return
            left_to_library = False
        self._next_turn = self.loop.call_soon(self._take_next_turn)

    def _take_next_turn(self) -> None:
        self._next_turn = None
        self._begin_requests()

    def _settle(self) -> None:
        """Bring what follows from the bytes at hand up to date, and drop them when there are too many of them."""
        self._unhandled.compact()
        is_busy = self._is_busy()
        if is_busy and len(self._unhandled) > MAX_WAITING_BYTES:
            # To read no more would hide that the client goes away.
            self._refuse_waiting(overloaded(f"more than {MAX_WAITING_BYTES} bytes wait behind a request under way"))
        library_held = 0 if self._library is None else self._library.held
        if not self.hold(library_held + len(self._unhandled)):
            if not is_busy:
                self.end(self.budget.overloaded())
                return
            self._refuse_waiting(self.budget.overloaded())
        self.is_free = not (is_busy or self._unhandled.data or self.is_writing_paused)
        if not self._unhandled.data:
            self.head_is_there()
        elif not (is_busy or self.is_writing_paused or self._next_turn is not None):
            self.await_head()
        self.read(reads=self._has_room())

    def _refuse_waiting(self, problem: HttpProblem) -> None:
        """Say ``problem`` behind the answer to the request under way, and handle nothing that the client sends."""
        self._problem_after_answer = problem
        self._unhandled.clear()
        self.hold(0 if self._library is None else self._library.held)

    def _begin(self, *, left_to_library: bool) -> bool:
        """Begin the request at the beginning of what is there. False: more of it must come before. Raises HttpProblem.

        ``left_to_library``: its direct handler has left it to the library.
        """
        unhandled = self._unhandled
        data = unhandled.data
        if self._reader is None:
            unhandled.begin = behind_empty_lines(data, unhandled.begin)
            if data[unhandled.begin : unhandled.begin + 2] in (b"", b"\r"):
                return False
            if (known := self._direct.library_head(data, unhandled.begin)) is not None:
                self.head_is_there()
                self._begin_in_library(known)
                return True
            self._reader = HeadReader(self.limits)
        begin = unhandled.begin
        head = self._reader.read(data[begin : begin + MAX_HEAD_BYTES])
        if head is None:
            return False
        self._reader = None
        self.head_is_there()
        target = None if left_to_library else self._direct.target(head, data, begin)
        if target is not None:
            body = data[begin + head.size : begin + head.size + head.body_bytes]
            unhandled.begin += head.size + head.body_bytes
            if self.handled(target, body):
                return True
            unhandled.begin = begin
        self._begin_in_library(head)
        return True

    def _begin_in_library(self, head: Head) -> None:
        framing: Framing = Chunks() if head.body_bytes == CHUNKED else Length(head.body_bytes)
        data, begin = self._unhandled.data, self._unhandled.begin
        try:
            end = begin + head.size + framing.take(data, begin + head.size)
        except BrokenBodyError as error:
            raise bad_request(str(error)) from error
        is_counted = self.hold(len(self._unhandled))
        self._unhandled.begin = end
        if not is_counted:
            self._refuse_one(head, framing)
            return
        if self._library is None:
            self._library = LibraryHalf(self, self.wire, self._server)
        self._library.begin(framing, data[begin:end])

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
        self._unhandled.clear()
        self._reader = None
        if problem is not None and not self.is_closing:
            self.refuse(problem)
        else:
            self.close(lingers=self._library is not None and self._library.is_body_missing)
        self.hold(0)
