"""Appends on their way to the master's disk: in line for the next commit, or behind another one with the same key."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic

from replicated_log.master.decisions import (
    Appended,
    Decision,
    EndMismatch,
    FindKey,
    KeyReused,
    KeyUnreadable,
    NotAppended,
    Replayed,
    Waiter,
)
from replicated_log.master.waiters import Waiters
from replicated_log.wire.batch import HEADER_BYTES, MAX_BATCH_BYTES, MAX_BATCH_RECORDS
from replicated_log.wire.errors import CorruptLogError
from replicated_log.wire.idempotency import KeyedAppend

MESSAGE_OVERHEAD_BYTES: Final = 64
"""What a message takes of memory beyond its size in a batch: most of what a small one takes."""


@dataclass(slots=True)  # Not frozen, which would make one take three times as long.
class Append(Generic[Waiter]):
    """What a client asks for. ``size`` is how many bytes of a batch it takes, ``memory`` what :func:`memory_of` says.

    ``digest`` is that of its messages if it has a key. Once an append is decided, nothing here keeps it: its client may
    wait long for other nodes, and its messages take no memory meanwhile.
    """

    waiter: Waiter
    messages: Sequence[bytes]
    size: int
    memory: int
    w: int
    time_ms: int
    key: str | None = None
    digest: bytes = b""
    if_end: int | None = None


def memory_of(messages: Sequence[bytes], size: int) -> int:
    """About how many bytes an append takes until it is decided; of a batch it takes ``size``."""
    return size + MESSAGE_OVERHEAD_BYTES * len(messages)


class AppendQueue(Generic[Waiter]):
    """Decides what becomes of each append, once, and lets the clients of those in the log wait for other nodes.

    Invariant: appends that claim the same key stand behind one another as they came; only the first is looked up, in
    line, or in the commit that runs. ``len`` and ``bytes`` count all appends that are not decided yet, also those whose
    clients are gone.
    """

    def __init__(self, decisions: deque[Decision[Waiter]], waiters: Waiters[Waiter]) -> None:
        self.bytes = 0
        self._decisions = decisions
        self._waiters = waiters
        self._undecided = 0
        self._waited_for: set[Waiter] = set()
        self._line: deque[Append[Waiter]] = deque()
        self._claims: dict[str, deque[Append[Waiter]]] = {}
        # By batches, each append with its offset.
        self._committing: list[list[tuple[Append[Waiter], int]]] = []
        self._mismatched: list[tuple[Append[Waiter], int]] = []

    def __len__(self) -> int:
        return self._undecided

    @property
    def in_line(self) -> bool:
        """Whether any append stands in line for the next commit."""
        return bool(self._line)

    def add(self, append: Append[Waiter]) -> None:
        self._undecided += 1
        self.bytes += append.memory
        self._waited_for.add(append.waiter)
        if append.key is None:
            self._line.append(append)
        elif append.key in self._claims:
            self._claims[append.key].append(append)
        else:
            self._claims[append.key] = deque((append,))
            self._decisions.append(FindKey(append.key))

    def forget(self, waiter: Waiter) -> None:
        """The client of this append is gone; the append goes on all the same."""
        self._waited_for.discard(waiter)

    def found(self, stored: KeyedAppend) -> None:
        """The log holds an append with a key that was looked up."""
        self._replay(self._claims.pop(stored.key), stored)

    def not_found(self, key: str) -> None:
        """The log holds no append with this key: the first one that claims it joins the line."""
        self._line.append(self._claims[key][0])

    def refuse_key(self, key: str, why: str) -> None:
        """Refuse every append that claims this key, which was looked up."""
        for append in self._claims.pop(key):
            self._refuse(append, why)

    def unreadable(self, key: str, error: CorruptLogError) -> None:
        """Damage hides whether the log holds an append with this key, which was looked up."""
        for append in self._claims.pop(key):
            if self._leaves(append):
                self._decisions.append(KeyUnreadable(append.waiter, error))

    def refuse_line(self, why: str) -> None:
        """Refuse every append in line, and every one that stands behind one of these for its key."""
        while self._line:
            self._refuse_all(self._line.popleft(), why)

    def take(self, offset: int) -> list[Append[Waiter]]:
        """Take out of the line the appends of the commit's next batch, which begins at ``offset``."""
        placed: list[tuple[Append[Waiter], int]] = []
        at, size = offset, HEADER_BYTES
        while self._line:
            append = self._line[0]
            if append.if_end is not None and append.if_end != at:
                self._mismatch(self._line.popleft(), at)
                continue
            records = at - offset + len(append.messages)
            if placed and (records > MAX_BATCH_RECORDS or size + append.size > MAX_BATCH_BYTES):
                break
            if not placed:
                self._committing.append(placed)
            placed.append((self._line.popleft(), at))
            at += len(append.messages)
            size += append.size
        return [append for append, _ in placed]

    def committed(self, epoch: int) -> None:
        """The appends that were taken are on disk, in batches of ``epoch``."""
        stored: dict[str | None, KeyedAppend] = {}
        for placed in self._committing:
            waiting: dict[int, list[Waiter]] = {}
            for append, offset in placed:
                if self._leaves(append):
                    self._decisions.append(Appended(append.waiter, offset))
                    waiting.setdefault(append.w, []).append(append.waiter)
                if append.key is not None:
                    stored[append.key] = KeyedAppend(append.key, append.digest, offset, len(append.messages), epoch)
                    claims = self._claims.pop(append.key)
                    claims.popleft()
                    self._replay(claims, stored[append.key])
            last, offset = placed[-1]
            for w, waiters in waiting.items():
                self._waiters.add(waiters, offset + len(last.messages) - 1, w)
        for append, end_offset in self._mismatched:
            if append.key in stored:
                # One behind it was stored in its place: what the log has under a key comes before where the log ends.
                self._replay((append,), stored[append.key])
            else:
                self._refuse_end(append, end_offset)
        self._committing.clear()
        self._mismatched.clear()

    def commit_refused(self) -> None:
        """None of the appends that were taken is on disk: there was no room."""
        for placed in self._committing:
            for append, _ in placed:
                self._refuse_all(append, None)
        for append, _ in self._mismatched:
            self._refuse(append, None)
        self._committing.clear()
        self._mismatched.clear()

    def _mismatch(self, append: Append[Waiter], end_offset: int) -> None:
        """The log does not end where this append wants it to; the next one that claims its key takes its place."""
        if self._committing:
            # The log ends there only once the commit is on disk: no client hears of an end that never was.
            self._mismatched.append((append, end_offset))
        else:
            self._refuse_end(append, end_offset)
        if append.key is not None:
            claims = self._claims[append.key]
            claims.popleft()
            if claims:
                self._line.appendleft(claims[0])
            else:
                del self._claims[append.key]

    def _replay(self, appends: Iterable[Append[Waiter]], stored: KeyedAppend) -> None:
        """Decide ``appends``, which have the key of ``stored``, an append on disk."""
        for append in appends:
            if not self._leaves(append):
                continue
            if append.digest == stored.digest:
                self._decisions.append(Replayed(append.waiter, stored.first_offset, stored.epoch))
                self._waiters.add((append.waiter,), stored.first_offset + stored.count - 1, append.w)
            else:
                self._decisions.append(KeyReused(append.waiter))

    def _refuse_all(self, append: Append[Waiter], read_only: str | None) -> None:
        """Refuse an append, and every one that stands behind it for its key."""
        for claimant in (append,) if append.key is None else self._claims.pop(append.key):
            self._refuse(claimant, read_only)

    def _refuse(self, append: Append[Waiter], read_only: str | None) -> None:
        if self._leaves(append):
            self._decisions.append(NotAppended(append.waiter, read_only))

    def _refuse_end(self, append: Append[Waiter], end_offset: int) -> None:
        if self._leaves(append):
            self._decisions.append(EndMismatch(append.waiter, end_offset))

    def _leaves(self, append: Append[Waiter]) -> bool:
        """Count an append as decided. True when its client still waits for that."""
        self._undecided -= 1
        self.bytes -= append.memory
        is_waited_for = append.waiter in self._waited_for
        self._waited_for.discard(append.waiter)
        return is_waited_for
