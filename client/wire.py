"""Requests to one node and their answers; every way in which they can fail is a NodeError."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar

import aiohttp

from client.answers import MalformedError, shaped
from client.errors import (
    AnswerTooLongError,
    EndMismatchError,
    KeyReusedError,
    NoConnectionError,
    NodeError,
    NotHereInTimeError,
    NotReachedInTimeError,
    RefusedError,
    Retry,
    Truth,
    UnexpectedAnswerError,
    UnreachableError,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

Query = Mapping[str, str | int | float]
JSON = "application/json"
NDJSON = "application/x-ndjson"
_CONNECT_TIMEOUT_S = 5.0
_MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Above one record of 1 MiB with every byte escaped in JSON."""


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What came with a status below 300."""

    value: T
    headers: Mapping[str, str]


class Wire:
    """The connections to one node, opened by `async with` and closed on leaving; it may be entered again later."""

    def __init__(self, url: str, name: str) -> None:
        self.url = url.rstrip("/")
        self.name = name
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        assert self._session is None, "entered twice at once"
        self._session = aiohttp.ClientSession(headers={"Accept": JSON})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()
        self._session = None

    async def get(self, kind: type[T], path: str, timeout_s: float, query: Query | None = None) -> Answer[T]:
        """GET `path`; the answer as `kind`."""
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_TIMEOUT_S)
        async with self._answered("GET", path, timeout, params=query) as response:
            return self._parsed(kind, response, await self._body(response))

    async def post(
        self,
        kind: type[T],
        path: str,
        timeout_s: float,
        body: bytes,
        headers: Mapping[str, str],
        query: Query | None = None,
    ) -> Answer[T]:
        """POST `body`; the answer as `kind`. When no answer says it, `appended` of the NodeError is unknown."""
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_TIMEOUT_S)
        # BytesIO: of a large body as bytes, aiohttp warns.
        async with self._answered("POST", path, timeout, params=query, data=BytesIO(body), headers=headers) as response:
            return self._parsed(kind, response, await self._body(response))

    @asynccontextmanager
    async def listening(
        self, path: str, query: Query, headers: Mapping[str, str], silence_s: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """GET an event stream. It counts as lost after `silence_s` in which nothing came."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S, sock_read=silence_s)
        headers = {"Accept": "text/event-stream", **headers}
        async with self._answered("GET", path, timeout, params=query, headers=headers) as response:
            if response.status >= 300:
                self._parsed(_Problem, response, await self._body(response))
            if response.content_type != "text/event-stream":
                self.unexpected("no")
            yield response

    @asynccontextmanager
    async def _answered(
        self, method: str, path: str, timeout: aiohttp.ClientTimeout, **parts: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request, until its answer has been read inside of the context."""
        assert self._session is not None, "use the node in `async with`"
        appended, retry = _unless_answered(method)
        try:
            async with self._session.request(
                method, self.url + path, timeout=timeout, allow_redirects=False, **parts
            ) as response:
                yield response
        except (
            aiohttp.ClientConnectorError,
            aiohttp.ConnectionTimeoutError,
            UnicodeError,
        ):  # the last: by the host name
            raise NoConnectionError(f"{self._who} is not reachable.", "no", "safe") from None
        except TimeoutError:
            within = timeout.total or timeout.sock_read or 0.0
            text = f"{self._who} did not answer within {round(within, 2):g} seconds."
            raise UnreachableError(text, appended, retry) from None
        except aiohttp.ClientResponseError:  # what answered does not speak HTTP
            self.unexpected(appended)
        except (aiohttp.ClientError, OSError):
            text = f"{self._who} closed the connection without a whole answer."
            raise UnreachableError(text, appended, retry) from None

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        raw = bytearray()
        async for chunk in response.content.iter_any():
            raw += chunk
            if len(raw) > _MAX_ANSWER_BYTES:
                appended, _ = _unless_answered(response.method)
                raise AnswerTooLongError(f"{self._who} answered with more than 16 MiB.", appended)
        return bytes(raw)

    def _parsed(self, kind: type[T], response: aiohttp.ClientResponse, raw: bytes) -> Answer[T]:
        """The answer as `kind`; a problem, or an answer of another shape, is raised as a NodeError."""
        appended, _ = _unless_answered(response.method)
        if 300 <= response.status < 500:
            appended = "no"
        try:
            answer = json.loads(raw)
            if response.status >= 300:
                raise _problem(answer, response, appended)
            return Answer(shaped(kind, answer), response.headers)
        except (ValueError, RecursionError, MalformedError):  # ValueError: not JSON, or not UTF-8
            self.unexpected(appended)

    def unexpected(self, appended: Truth) -> NoReturn:
        raise UnexpectedAnswerError(f"{self._who} does not answer like a ReplicatedLog node.", appended) from None

    @property
    def _who(self) -> str:
        return f"{self.name} ({self.url})"


def _unless_answered(method: str) -> tuple[Truth, Retry]:
    """What is known, without an answer that says more, of a request that was sent."""
    return ("unknown", "same-key") if method == "POST" else ("no", "safe")


@dataclass(frozen=True)
class _Problem:
    title: str
    detail: str | None = None
    code: str | None = None
    appended: Truth | None = None
    retry: Retry | None = None
    end_offset: int | None = None


@dataclass(frozen=True)
class _NotReached:
    offset: int
    acked: tuple[str, ...]
    missing: tuple[str, ...]


def _problem(answer: Any, response: aiohttp.ClientResponse, unless_answered: Truth) -> NodeError:
    """A problem as the error it means; raises MalformedError when the answer is none."""
    problem = shaped(_Problem, answer)
    status = response.status
    if status == 504 and problem.appended == "yes":
        return NotReachedInTimeError(**vars(shaped(_NotReached, answer)), retry=problem.retry or "no")
    after = response.headers.get("Retry-After", "")
    details = (
        problem.title,
        problem.detail or "",
        status,
        problem.code or "",
        problem.appended or unless_answered,
        problem.retry or "no",
        float(after) if after.isascii() and after.isdecimal() else 0.0,
    )
    kinds: dict[int, type[EndMismatchError | NotHereInTimeError]] = {412: EndMismatchError}
    if response.method == "GET":
        kinds = {504: NotHereInTimeError}
    if status in kinds:
        error = kinds[status](*details)
        error.end_offset = problem.end_offset
        return error
    return KeyReusedError(*details) if status == 422 else RefusedError(*details)
