"""Appends on their way to the master's disk: in line for the next commit, or behind a key that another one has."""

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
"""What a message takes of memory, beyond its size in a batch: of small ones, most."""


@dataclass(slots=True)  # Not frozen, which would make one take three times as long.
class Append(Generic[Waiter]):
    """What a client asks for. ``size`` is what it takes of a batch; ``digest`` that of its messages, if with a key.

    ``memory`` is as :func:`memory_of`. Whoever waits for copies keeps nothing of it.
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
    """Decides what becomes of each append, once, and lets those that are in the log wait for copies.

    Invariant: whoever claims a key stands behind whoever claimed it before; only the first is looked up, in line, or in
    the commit that runs. ``len`` and ``bytes`` are those of all that is not decided yet, be it waited for or not.
    """

    def __init__(self, decisions: deque[Decision[Waiter]], waiters: Waiters[Waiter]) -> None:
        self.bytes = 0
        self._decisions = decisions
        self._waiters = waiters
        self._undecided = 0
        self._tickets: set[Waiter] = set()
        self._line: deque[Append[Waiter]] = deque()
        self._claims: dict[str, deque[Append[Waiter]]] = {}
        # By batches, each append with its offset.
        self._committing: list[list[tuple[Append[Waiter], int]]] = []
        self._mismatched: list[tuple[Append[Waiter], int]] = []

    def __len__(self) -> int:
        return self._undecided

    @property
    def in_line(self) -> bool:
        """Whether some stand in line for the next commit."""
        return bool(self._line)

    def add(self, append: Append[Waiter]) -> None:
        self._undecided += 1
        self.bytes += append.memory
        self._tickets.add(append.waiter)
        if append.key is None:
            self._line.append(append)
        elif append.key in self._claims:
            self._claims[append.key].append(append)
        else:
            self._claims[append.key] = deque((append,))
            self._decisions.append(FindKey(append.key))

    def forget(self, waiter: Waiter) -> None:
        """Nobody waits for this waiter any more; but what it asked for goes its way."""
        self._tickets.discard(waiter)

    def found(self, keyed: KeyedAppend) -> None:
        """The log holds an append with a key that was looked up."""
        self._replay(self._claims.pop(keyed.key), keyed)

    def not_found(self, key: str) -> None:
        """The log holds no append with this key: the first who claims it stands in line."""
        self._line.append(self._claims[key][0])

    def refuse_key(self, key: str, why: str) -> None:
        """Nobody who claims a key that was looked up may append."""
        for append in self._claims.pop(key):
            self._refuse(append, why)

    def unreadable(self, key: str, error: CorruptLogError) -> None:
        """Nobody knows whether the log holds an append with a key that was looked up."""
        for append in self._claims.pop(key):
            if self._leaves(append):
                self._decisions.append(KeyUnreadable(append.waiter, error))

    def refuse_line(self, why: str) -> None:
        """Nobody who stands in line may append, nor who stands behind one of them."""
        while self._line:
            self._refuse_all(self._line.popleft(), why)

    def take(self, offset: int) -> list[Append[Waiter]]:
        """Take out of the line what goes into the next batch of the commit, which begins at ``offset``."""
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
        """What was taken is on disk, in batches of ``epoch``."""
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
                # One behind it was stored in its place: for whoever asks now, what the log has of a key comes first.
                self._replay((append,), stored[append.key])
            else:
                self._refuse_end(append, end_offset)
        self._committing.clear()
        self._mismatched.clear()

    def commit_refused(self) -> None:
        """Nothing of what was taken is on disk, for want of room."""
        for placed in self._committing:
            for append, _ in placed:
                self._refuse_all(append, None)
        for append, _ in self._mismatched:
            self._refuse(append, None)
        self._committing.clear()
        self._mismatched.clear()

    def _mismatch(self, append: Append[Waiter], end_offset: int) -> None:
        """The log should end elsewhere for this append; whoever claims its key after it stands in its place."""
        if self._committing:
            # The log ends there only once the commit is on disk: nobody is told of an end that never was.
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

    def _replay(self, appends: Iterable[Append[Waiter]], keyed: KeyedAppend) -> None:
        """All of them have the key of ``keyed``, which is on disk."""
        for append in appends:
            if not self._leaves(append):
                continue
            if append.digest == keyed.digest:
                self._decisions.append(Replayed(append.waiter, keyed.first_offset, keyed.epoch))
                self._waiters.add((append.waiter,), keyed.first_offset + keyed.count - 1, append.w)
            else:
                self._decisions.append(KeyReused(append.waiter))

    def _refuse_all(self, append: Append[Waiter], read_only: str | None) -> None:
        """Refuse an append, and all that stand behind it for its key."""
        for claimant in (append,) if append.key is None else self._claims.pop(append.key):
            self._refuse(claimant, read_only)

    def _refuse(self, append: Append[Waiter], read_only: str | None) -> None:
        if self._leaves(append):
            self._decisions.append(NotAppended(append.waiter, read_only))

    def _refuse_end(self, append: Append[Waiter], end_offset: int) -> None:
        if self._leaves(append):
            self._decisions.append(EndMismatch(append.waiter, end_offset))

    def _leaves(self, append: Append[Waiter]) -> bool:
        """It is being decided. True when somebody waits for that."""
        self._undecided -= 1
        self.bytes -= append.memory
        waited_for = append.waiter in self._tickets
        self._tickets.discard(append.waiter)
        return waited_for
