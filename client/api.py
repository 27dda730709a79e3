"""The HTTP client of a ReplicatedLog node: append to its log, read it, ask how it is."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import aiohttp

from client.answers import Appended, MalformedError, Page, Record, Status, shaped

T = TypeVar("T")

WriteConcern = int | Literal["majority", "all"]
"""How many nodes, the master included, must hold a record before the answer comes."""

Truth = Literal["no", "yes", "unknown"]

APPEND_TIMEOUT_S = 60.0
READ_TIMEOUT_S = 10.0
_CONNECT_TIMEOUT_S = 5.0
_GRACE_S = 5.0
"""How much longer than the node we wait: its 504 says where the message is, our own timeout cannot."""
_MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Above one record of 1 MiB with every byte escaped in JSON."""
_MAX_PAGE = 1000


class NodeError(Exception):
    """A request without the answer wanted. Its text is one line for people, and may hold what the node sent.

    `appended` tells whether the message of an append is in the log; "no" for every other request.
    """

    def __init__(self, text: str, appended: Truth) -> None:
        super().__init__(text)
        self.appended = appended


class UnreachableError(NodeError):
    """There was no connection to the node, or no whole answer on it in time."""


class UnexpectedAnswerError(NodeError):
    """Something answered that does not speak as a ReplicatedLog node does."""


class AnswerTooLongError(UnexpectedAnswerError):
    """An answer above 16 MiB, not read further."""


class RefusedError(NodeError):
    """The node answered with a problem (RFC 9457). `code` is for programs; "" when the node gave none."""

    def __init__(self, title: str, detail: str, status: int, code: str, appended: Truth) -> None:
        super().__init__(f"{title}: {detail}" if detail else title, appended)
        self.title = title
        self.detail = detail
        self.status = status
        self.code = code


class NotReachedInTimeError(NodeError):
    """The message is in the master's log at `offset`, and will be replicated; fewer than w nodes held it in time."""

    def __init__(self, offset: int, acked: tuple[str, ...], missing: tuple[str, ...]) -> None:
        by = ", ".join(missing) or "enough nodes"
        super().__init__(f"Appended at offset {offset}, not acknowledged in time by {by}.", "yes")
        self.offset = offset
        self.acked = acked
        self.missing = missing


class Node:
    """One node by its URL. `async with` opens its connections and closes them; it may be entered again later.

    `name` is what errors call it. Every method raises a NodeError when the node, or whatever is at its URL,
    fails to answer.
    """

    def __init__(self, url: str, name: str = "node") -> None:
        self.url = url.rstrip("/")
        self.name = name
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        assert self._session is None, "entered twice at once"
        self._session = aiohttp.ClientSession(headers={"Accept": "application/json"})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()
        self._session = None

    async def append(self, message: str, w: WriteConcern = "all", timeout_s: float = APPEND_TIMEOUT_S) -> Appended:
        """Append `message`; on return `w` nodes hold it on disk.

        Raises NotReachedInTimeError after timeout_s, RefusedError for a w outside 1..n among others.
        Cancelled, or without an answer, the message may be in the log all the same.
        """
        body = {"message": message, "w": w, "timeout": timeout_s}
        return await self._ask(Appended, "POST", "/messages", timeout_s + _GRACE_S, body)

    async def append_clamped(self, message: str, w: WriteConcern) -> Appended:
        """As append, but w below 1 means 1, above the number of nodes means all; the timeout is the node's own."""
        body = {"message": message, "w": w}
        return await self._ask(Appended, "POST", "/", APPEND_TIMEOUT_S + _GRACE_S, body)

    async def read(self, start: int = 0, limit: int = 100) -> Page:
        """Up to `limit` (1..1000) records from offset `start` on; none when the log ends there.

        Raises AnswerTooLongError when they are above 16 MiB as JSON; one record never is.
        """
        page = await self._ask(Page, "GET", f"/messages?from={start}&limit={limit}", READ_TIMEOUT_S)
        offsets = [record.offset for record in page.messages]
        stuck = not offsets and page.end_offset > start
        if stuck or offsets != list(range(start, start + len(offsets))):
            raise self._unexpected("no")
        return page

    async def records(self, start: int, stop: int) -> AsyncIterator[Record]:
        """The records from `start` up to `stop` (excluded), or the end of the log; holds one answer at a time."""
        limit = _MAX_PAGE
        while start < stop:
            try:
                page = await self.read(start, min(limit, stop - start))
            except AnswerTooLongError:
                if limit == 1:
                    raise
                limit //= 2
                continue
            if not page.messages:
                return
            for record in page.messages:
                yield record
            start += len(page.messages)

    async def status(self) -> Status:
        """How the node is, and on the master how it sees each secondary."""
        return await self._ask(Status, "GET", "/status", READ_TIMEOUT_S)

    async def _ask(
        self, kind: type[T], method: str, path: str, timeout_s: float, body: Mapping[str, object] | None = None
    ) -> T:
        """One request and its answer as `kind`. Every failure, told or not, is a NodeError."""
        assert self._session is not None, "use the node in `async with`"
        unless_told: Truth = "unknown" if method == "POST" else "no"
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_TIMEOUT_S)
        try:
            async with self._session.request(
                method, self.url + path, json=body, timeout=timeout, allow_redirects=False
            ) as response:
                raw = await self._body(response, unless_told)
        except (
            aiohttp.ClientConnectorError,
            aiohttp.ConnectionTimeoutError,
            UnicodeError,
        ):  # the last: by the host name
            raise UnreachableError(f"{self._who} is not reachable.", "no") from None
        except TimeoutError:
            raise UnreachableError(f"{self._who} did not answer within {timeout_s:g} seconds.", unless_told) from None
        except aiohttp.ClientResponseError:  # what answered does not speak HTTP
            raise self._unexpected(unless_told) from None
        except (aiohttp.ClientError, OSError):
            raise UnreachableError(f"{self._who} closed the connection without a whole answer.", unless_told) from None
        if 300 <= response.status < 500:
            unless_told = "no"
        try:
            answer = json.loads(raw)
            if response.status >= 300:
                raise _problem(answer, response.status, unless_told)
            return shaped(kind, answer)
        except (ValueError, RecursionError, MalformedError):  # ValueError: not JSON, or not UTF-8
            raise self._unexpected(unless_told) from None

    async def _body(self, response: aiohttp.ClientResponse, appended: Truth) -> bytes:
        raw = bytearray()
        async for chunk in response.content.iter_any():
            raw += chunk
            if len(raw) > _MAX_ANSWER_BYTES:
                raise AnswerTooLongError(f"{self._who} answered with more than 16 MiB.", appended)
        return bytes(raw)

    @property
    def _who(self) -> str:
        return f"{self.name} ({self.url})"

    def _unexpected(self, appended: Truth) -> UnexpectedAnswerError:
        return UnexpectedAnswerError(f"{self._who} does not answer like a ReplicatedLog node.", appended)


@dataclass(frozen=True)
class _Problem:
    title: str
    detail: str | None = None
    code: str | None = None
    appended: Truth | None = None


@dataclass(frozen=True)
class _NotReached:
    offset: int
    acked: tuple[str, ...]
    missing: tuple[str, ...]


def _problem(answer: Any, status: int, unless_told: Truth) -> NodeError:
    """A problem as the error it means; raises MalformedError when the answer is none."""
    problem = shaped(_Problem, answer)
    if status == 504 and problem.appended == "yes":
        return NotReachedInTimeError(**vars(shaped(_NotReached, answer)))
    told = problem.appended or unless_told
    return RefusedError(problem.title, problem.detail or "", status, problem.code or "", told)
