"""Following a log: its records as they come, over one connection after the other."""

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from client.answers import MalformedError, Record, shaped
from client.errors import AnswerTooLongError, LogChangedError, NoConnectionError, NodeError
from client.events import EventParser, EventTooLongError
from client.retrying import pauses_s
from client.wire import Query, Wire

_MAX_EVENT_BYTES = 16 * 1024 * 1024
_OFFSET = re.compile(r"-1|[0-9]{1,18}")
_SILENCE_S = 60.0
"""Nodes send a comment far more often; a connection on which nothing comes for so long leads nowhere."""


class Following:
    """One reader's way through a log: each record once and in order, over any number of connections.

    `connected_until` is when the last connection that had the stream was lost, None before the first one.
    """

    def __init__(self, wire: Wire, start: int | None) -> None:
        self.connected_until: float | None = None
        self._wire = wire
        self._query: Query = {} if start is None else {"from": start}
        self._log_id: str | None = None
        self._seen: int | None = None if start is None or start < 0 else start - 1
        """The offset before the next record's; None until the node tells, when the start counts from the end."""

    async def records(self) -> AsyncGenerator[Record]:
        """The records that come on one connection; ends when the node ends it. Raises NodeError."""
        headers = {} if self._seen is None else {"Last-Event-ID": str(self._seen)}
        parser = EventParser(_MAX_EVENT_BYTES)
        async with self._wire.listening("/messages", self._query, headers, _SILENCE_S) as response:
            self._check_log(response.headers.get("Replog-Log-Id"))
            try:
                async for piece in response.content.iter_any():
                    for record in self._completed(parser, piece):
                        if self._seen is not None and record.offset != self._seen + 1:
                            self._wire.unexpected("no")
                        self._seen = record.offset
                        yield record
                    if self._seen is None and parser.last_id is not None:
                        self._seen = self._offset(parser.last_id)
            finally:
                self.connected_until = time.monotonic()

    def _completed(self, parser: EventParser, piece: bytes) -> list[Record]:
        """The records that end in `piece`."""
        try:
            return [shaped(Record, json.loads(event.data)) for event in parser.feed(piece)]
        except EventTooLongError:
            raise AnswerTooLongError(f"{self._wire.name} sent an event above 16 MiB.", "no") from None
        except (ValueError, RecursionError, MalformedError):  # ValueError: not JSON, or not UTF-8
            self._wire.unexpected("no")

    def _offset(self, last_id: str) -> int:
        if not _OFFSET.fullmatch(last_id):
            self._wire.unexpected("no")
        return int(last_id)

    def _check_log(self, log_id: str | None) -> None:
        if log_id and self._log_id not in {None, log_id}:
            raise LogChangedError(f"{self._wire.name} ({self._wire.url}) has another log now.", "no")
        self._log_id = log_id or self._log_id


async def follow(wire: Wire, start: int | None, patience_s: float, *, wait_until_up: bool) -> AsyncGenerator[Record]:
    """Records from `start` on (None: from the end on), until closed; connects again and again, but does not look for a
    node that is not there for longer than `patience_s`."""
    following = Following(wire, start)
    began = time.monotonic()
    pauses = pauses_s()
    while True:
        failed: NodeError | None = None
        try:
            async with aclosing(following.records()) as records:
                async for record in records:
                    pauses = pauses_s()
                    yield record
        except NodeError as error:
            failed = error
        if failed is not None:
            lost_at = following.connected_until
            is_absent = isinstance(failed, NoConnectionError) and lost_at is None and not wait_until_up
            if failed.retry == "no" or is_absent or time.monotonic() - (lost_at or began) >= patience_s:
                raise failed
        await asyncio.sleep(max(next(pauses), failed.retry_after_s if failed else 0.0))
