"""Appends with keys, on a real log whose master crashes at any moment, against a dictionary."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from replicated_log.master.decisions import (
    Appended,
    Commit,
    EndMismatch,
    FindKey,
    KeyReused,
    NotAppended,
    Replayed,
)
from replicated_log.master.reign import Reign
from replicated_log.storage.check import check
from replicated_log.storage.log import Log
from replicated_log.storage.log_reader import LogReader
from replicated_log.wire.batch import MAX_BATCH_BYTES
from replicated_log.wire.delivery import ReignId

KEYS = ("k1", "k2", "k3")
BODIES = (("a",), ("b",), ("a", "b"), ("ab",))

Body = tuple[str, ...]


class IdempotentAppends(RuleBasedStateMachine):
    """``stored`` is the model: by key, where its messages are, and which. Clients and the disk act at their leisure."""

    def __init__(self) -> None:
        super().__init__()
        self.held = TemporaryDirectory()
        self.directory = Path(self.held.name) / "data"
        self.number = 0
        self.messages: list[str] = []
        self.stored: dict[str, tuple[int, Body]] = {}
        self.asked: dict[int, tuple[str | None, Body, int | None]] = {}
        self.open()

    def open(self) -> None:
        self.log = Log.open(self.directory, "master")
        self.reader = LogReader.open(self.directory)
        epoch = self.log.begin_reign()
        assert self.log.log_id is not None
        self.reign = Reign[int](ReignId(self.log.log_id, epoch, "reign"), [], self.log.end)
        self.commits: list[Commit] = []
        self.lookups: list[str] = []
        self.asked.clear()

    def close(self) -> None:
        self.reader.close()
        self.log.close()

    def teardown(self) -> None:
        self.close()
        assert check(self.directory).end.offset == len(self.messages)
        self.held.cleanup()

    @rule(
        key=st.sampled_from((*KEYS, None)), body=st.sampled_from(BODIES), ahead=st.sampled_from((None, None, 0, 1, 2))
    )
    def append(self, key: str | None, body: Body, ahead: int | None) -> None:
        self.number += 1
        if_end = None if ahead is None else len(self.messages) + ahead
        self.asked[self.number] = (key, body, if_end)
        messages = [text.encode() for text in body]
        self.reign.append(self.number, messages, w=1, time_ms=0, now=0.0, key=key, if_end=if_end)
        self.perform()

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def go_away(self, data: st.DataObject) -> None:
        waiter = data.draw(st.sampled_from(sorted(self.asked)))
        del self.asked[waiter]
        self.reign.forget(waiter)

    @precondition(lambda self: self.lookups)
    @rule(data=st.data())
    def look_up(self, data: st.DataObject) -> None:
        key = self.lookups.pop(data.draw(st.integers(0, len(self.lookups) - 1)))
        found = self.reader.find_key(key)
        assert (None if found is None else found.first_offset) == self.stored.get(key, (None,))[0]
        self.reign.key_found(key, found, 0.0)
        self.perform()

    @precondition(lambda self: self.commits)
    @rule()
    def commit(self) -> None:
        self.store()
        self.reign.committed()
        self.perform()

    @precondition(lambda self: self.commits)
    @rule()
    def refuse(self) -> None:
        self.commits.pop()
        self.reign.commit_refused()
        self.perform()

    @rule(stores=st.booleans())
    def crash(self, stores: bool) -> None:
        """Before, or after, what was to be committed has come to the disk."""
        if stores and self.commits:
            self.store()
        self.close()
        self.open()

    def store(self) -> None:
        (batch, *more) = self.commits.pop().batches
        assert not more
        self.log.append([batch])
        for keyed in batch.keyed_appends:
            assert keyed.key not in self.stored
            place = keyed.first_offset - batch.first_offset
            self.stored[keyed.key] = (keyed.first_offset, tuple(batch.messages()[place : place + keyed.count]))
        self.messages.extend(batch.messages())

    def perform(self) -> None:
        for decision in self.reign.decisions():
            match decision:
                case Commit():
                    self.commits.append(decision)
                case FindKey(key):
                    self.lookups.append(key)
                case Appended() | Replayed() | NotAppended() | EndMismatch() | KeyReused():
                    self.told(decision)

    def told(self, outcome: Any) -> None:
        key, body, if_end = self.asked.pop(outcome.waiter)
        known = self.stored.get(key) if key is not None else None
        match outcome:
            case Appended(_, offset):
                assert tuple(self.messages[offset : offset + len(body)]) == body
                assert if_end in {None, offset}
                assert key is None or known == (offset, body)
            case Replayed(_, offset):
                assert known == (offset, body)
            case KeyReused():
                assert known is not None
                assert known[1] != body
            case EndMismatch(_, end_offset):
                assert known is None
                assert if_end != end_offset <= len(self.messages)
            case NotAppended():
                assert known is None

    @invariant()
    def nothing_else_is_stored(self) -> None:
        batches = self.reader.read(0, MAX_BATCH_BYTES)
        assert [message for batch in batches for message in batch.messages()] == self.messages

    @invariant()
    def whoever_waits_is_on_the_way(self) -> None:
        assert self.reign.waiting >= len(self.asked)
        assert bool(self.reign.waiting) == bool(self.commits or self.lookups)


def test_no_crash_and_no_retry_stores_a_message_twice() -> None:
    run_state_machine_as_test(
        IdempotentAppends, settings=settings(max_examples=40, stateful_step_count=30, deadline=None)
    )
