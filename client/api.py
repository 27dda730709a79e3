"""The HTTP client of a ReplicatedLog node: append to its log, read it, follow it, ask how it is.

    async with Node("http://localhost:8000") as master:
        appended = await master.append("hello", w="majority")

What can go wrong is in client.errors.
"""

import asyncio
import json
import math
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from client.answers import Appended, AppendedMany, Health, Page, Record, Status
from client.errors import AnswerTooLongError, NodeError
from client.following import follow
from client.retrying import retried
from client.wire import JSON, NDJSON, Answer, Wire

T = TypeVar("T")

WriteConcern = int | Literal["majority", "all"]
"""How many nodes, the master included, must hold a record before the answer comes."""

APPEND_TIMEOUT_S = 60.0
READ_TIMEOUT_S = 10.0
MAX_KEY = 255
_GRACE_S = 5.0
"""How much longer than the node we wait: its 504 says where the message is, our own timeout cannot."""
_MAX_PAGE = 1000


class Node:
    """One node by its URL. `async with` opens its connections and closes them; it may be entered again later.

    `name` is what errors call it. Every method raises a NodeError when the node, or another server at its URL,
    fails to answer. Appends, wait_for and follow try again by themselves when that is safe, for a master that
    restarts is back within seconds; with `wait_until_up` False they don't when the first connection fails.
    """

    def __init__(self, url: str, name: str = "node", *, wait_until_up: bool = True) -> None:
        self._wire = Wire(url, name)
        self._wait_until_up = wait_until_up

    @property
    def url(self) -> str:
        return self._wire.url

    @property
    def name(self) -> str:
        return self._wire.name

    async def __aenter__(self) -> Self:
        await self._wire.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._wire.__aexit__(kind, error, traceback)

    async def append(
        self,
        message: str,
        w: WriteConcern | None = None,
        timeout_s: float = APPEND_TIMEOUT_S,
        *,
        key: str | None = None,
        if_end: int | None = None,
    ) -> Appended:
        """Append `message`; on return `w` nodes hold it on disk. Without w the master's default counts.

        Further attempts within timeout_s (up to 3600) carry the same idempotency key, so that it is appended once:
        `key` (1 to 255 printable ASCII characters), or one made for this call. A later call with the same key and
        message answers with the record that is there. With `if_end`, it is appended only at that offset.

        Raises NotReachedInTimeError after timeout_s, KeyReusedError, EndMismatchError, and RefusedError
        for a w outside 1..n among others. Cancelled, the message may be in the log all the same.
        """
        return await self._append_one("/messages", message, w, timeout_s, key, if_end)

    async def append_clamped(self, message: str, w: WriteConcern, timeout_s: float = APPEND_TIMEOUT_S) -> Appended:
        """As append, but w below 1 means 1, above the number of nodes means all."""
        return await self._append_one("/", message, w, timeout_s, None, None)

    async def append_many(
        self,
        messages: Iterable[str],
        w: WriteConcern | None = None,
        timeout_s: float = APPEND_TIMEOUT_S,
        *,
        key: str | None = None,
        if_end: int | None = None,
    ) -> AppendedMany:
        """As append, of 1 to 10,000 messages, 4 MiB in all: they get consecutive offsets, or none is appended."""
        lines = "".join(json.dumps(message) + "\n" for message in messages).encode()
        headers = {"Content-Type": NDJSON, **_conditions(key, if_end)}

        async def attempt(left_s: float) -> AppendedMany:
            query = _write_concern(w, left_s)
            answer = await self._wire.post(AppendedMany, "/messages", left_s + _GRACE_S, lines, headers, query)
            return replace(answer.value, replayed=_is_replay(answer))

        return await self._retried(attempt, timeout_s)

    async def wait_for(self, offset: int, w: WriteConcern = "all", timeout_s: float = APPEND_TIMEOUT_S) -> Appended:
        """Wait until `w` nodes hold the record at `offset`, which is in the log already.

        Raises NotReachedInTimeError after timeout_s, RefusedError when there is no such record.
        """

        async def attempt(left_s: float) -> Appended:
            query = _write_concern(w, left_s)
            return (await self._wire.get(Appended, f"/messages/{offset}", left_s + _GRACE_S, query)).value

        return await self._retried(attempt, timeout_s)

    async def read(
        self,
        start: int = 0,
        limit: int = 100,
        *,
        committed: bool = False,
        min_offset: int | None = None,
        timeout_s: float = READ_TIMEOUT_S,
    ) -> Page:
        """Up to `limit` (1..1000) records from offset `start` on; none when the log ends there.

        A negative start counts from the end. With `committed`, only what a majority holds, as far as this node knows.
        With `min_offset`, the node first waits until it holds that offset, so that it shows a write of another node.

        Raises NotHereInTimeError when it does not within timeout_s, and AnswerTooLongError when the records are
        above 16 MiB as JSON; one record never is.
        """
        query: dict[str, str | int | float] = {"from": start, "limit": limit}
        if committed:
            query["consistency"] = "committed"
        if min_offset is not None:
            query |= {"min_offset": min_offset, **_timeout(timeout_s)}
        page = (await self._wire.get(Page, "/messages", timeout_s + _GRACE_S, query)).value
        offsets = [record.offset for record in page.messages]
        first = offsets[0] if start < 0 and offsets else start
        is_stuck = not offsets and not committed and page.end_offset > max(start, 0)
        if is_stuck or offsets != list(range(first, first + len(offsets))):
            self._wire.unexpected("no")
        return page

    async def records(self, start: int = 0, stop: float = math.inf) -> AsyncIterator[Record]:
        """The records from `start` up to `stop` (excluded), or the end of the log; holds one answer at a time."""
        limit = _MAX_PAGE
        while start < stop:
            try:
                page = await self.read(start, int(min(limit, stop - start)))
            except AnswerTooLongError:
                if limit == 1:
                    raise
                limit //= 2
                continue
            if not page.messages:
                return
            for record in page.messages:
                yield record
            start = page.messages[-1].offset + 1

    def follow(self, start: int | None = 0, *, patience_s: float = 60.0) -> AsyncGenerator[Record]:
        """The records from `start` on, those to come included, each once and in order; never ends by itself.

        A negative start counts from the end, None is the end itself. Lost connections are made again, and what came
        meanwhile is not missed.
        Close it (contextlib.aclosing) to let go of its connection. Raises UnreachableError when the node could
        not be reached for `patience_s`, LogChangedError when it comes back with another log.
        """
        return follow(self._wire, start, patience_s, wait_until_up=self._wait_until_up)

    async def status(self) -> Status:
        """How the node is, and on the master how it sees each secondary."""
        return (await self._wire.get(Status, "/status", READ_TIMEOUT_S)).value

    async def health(self) -> Health:
        """How many nodes the master hears, and whether it may append. Secondaries refuse to answer this."""
        return (await self._wire.get(Health, "/health", READ_TIMEOUT_S)).value

    async def _append_one(
        self, path: str, message: str, w: WriteConcern | None, timeout_s: float, key: str | None, if_end: int | None
    ) -> Appended:
        headers = {"Content-Type": JSON, **_conditions(key, if_end)}

        async def attempt(left_s: float) -> Appended:
            body = json.dumps({"message": message, **_write_concern(w, left_s)}).encode()
            answer = await self._wire.post(Appended, path, left_s + _GRACE_S, body, headers)
            return replace(answer.value, replayed=_is_replay(answer))

        return await self._retried(attempt, timeout_s)

    async def _retried(self, attempt: Callable[[float], Awaitable[T]], timeout_s: float) -> T:
        return await retried(attempt, timeout_s, wait_until_up=self._wait_until_up)


async def status_of_each(nodes: Iterable[Node]) -> list[Status | NodeError]:
    """The status of each node, asked side by side; of a node that fails to answer, its error."""

    async def ask(node: Node) -> Status | NodeError:
        async with node:
            try:
                return await node.status()
            except NodeError as error:
                return error

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(ask(node)) for node in nodes]
    return [task.result() for task in asked]


def _write_concern(w: WriteConcern | None, timeout_s: float) -> dict[str, str | int | float]:
    """The write concern, and how long to wait for it, as fields of a request."""
    return _timeout(timeout_s) if w is None else {"w": w, **_timeout(timeout_s)}


def _timeout(timeout_s: float) -> dict[str, str | int | float]:
    return {"timeout": max(round(timeout_s, 3), 0.001)}  # nodes refuse 0


def _conditions(key: str | None, if_end: int | None) -> dict[str, str]:
    """The headers that let messages be appended once at most, and at `if_end` only."""
    if key is not None and not (1 <= len(key) <= MAX_KEY and key.isascii() and key.isprintable()):
        raise ValueError(f"a key must be 1 to {MAX_KEY} printable ASCII characters")
    headers = {"Idempotency-Key": uuid.uuid4().hex if key is None else key}
    if if_end is not None:
        headers["If-Match"] = f'"{if_end}"'
    return headers


def _is_replay(answer: Answer[Any]) -> bool:
    return answer.headers.get("Idempotent-Replayed") == "true"
