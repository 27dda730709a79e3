"""What every log promises, the real one and the model that the simulation runs on."""

from collections.abc import Sequence
from typing import Protocol

import pytest

from replicated_log.storage import key_index
from replicated_log.wire.batch import MAX_BATCH_BYTES, START, Batch, Position
from replicated_log.wire.idempotency import KeyedAppend, digest
from tests.unit.builders import LOG_ID, make_batches, make_keyed_batch


class WritableLog(Protocol):
    """The part of :class:`replicated_log.storage.log.Log` that this contract is about."""

    @property
    def end(self) -> Position: ...
    @property
    def log_id(self) -> str | None: ...
    @property
    def epoch(self) -> int: ...
    @property
    def disk_id(self) -> str: ...
    def begin_reign(self) -> int: ...
    def adopt(self, log_id: str, /) -> None: ...
    def append(self, batches: Sequence[Batch], /, *, adopt: str | None = None, epoch: int = 0) -> None: ...


class ReadableLog(Protocol):
    """The part of :class:`replicated_log.storage.log.LogReader` that this contract is about."""

    def read(self, from_offset: int, max_bytes: int, /) -> list[Batch]: ...
    def chain_at(self, offset: int, /) -> bytes | None: ...
    def find_key(self, key: str, /) -> KeyedAppend | None: ...


BATCHES = make_batches("a", ["b", "c", "d"], "e" * 1_000, [""], ["f", "g"])


class LogContract:
    """Subclass this as ``Test...``, and override the fixtures ``log`` (new, empty) and ``reader`` (of that log)."""

    @pytest.fixture
    def log(self) -> WritableLog:
        raise NotImplementedError

    @pytest.fixture
    def reader(self, log: WritableLog) -> ReadableLog:
        raise NotImplementedError

    def test_a_new_log_is_empty_and_nameless(self, log: WritableLog, reader: ReadableLog) -> None:
        assert (log.end, log.log_id, log.epoch) == (START, None, 0)
        assert log.disk_id
        assert reader.read(0, MAX_BATCH_BYTES) == []
        assert (reader.chain_at(0), reader.chain_at(1)) == (START.chain, None)

    def test_each_reign_takes_the_next_epoch_and_the_first_names_the_log(self, log: WritableLog) -> None:
        assert log.begin_reign() == log.epoch == 1
        log_id = log.log_id
        assert log_id is not None
        assert len(bytes.fromhex(log_id)) == 16
        assert log.begin_reign() == log.epoch == 2
        assert log.log_id == log_id

    def test_an_adopted_log_keeps_its_name(self, log: WritableLog) -> None:
        log.adopt(LOG_ID)
        log.adopt(LOG_ID)
        assert (log.log_id, log.epoch, log.end) == (LOG_ID, 0, START)

    def test_a_log_can_be_adopted_with_its_first_records(self, log: WritableLog, reader: ReadableLog) -> None:
        log.append(BATCHES[:2], adopt=LOG_ID)
        assert (log.log_id, log.epoch, log.end) == (LOG_ID, 1, BATCHES[1].end)
        log.append(BATCHES[2:], adopt=LOG_ID)
        assert reader.read(0, MAX_BATCH_BYTES) == BATCHES

    def test_an_append_moves_the_end(self, log: WritableLog) -> None:
        log.adopt(LOG_ID)
        log.append(BATCHES[:2])
        assert log.end == BATCHES[1].end
        log.append([])
        assert log.end == BATCHES[1].end
        log.append(BATCHES[2:])
        assert log.end == BATCHES[-1].end

    def test_the_epoch_is_the_highest_of_the_stored_batches(self, log: WritableLog) -> None:
        log.adopt(LOG_ID)
        early = make_batches("a", epoch=2)
        late = make_batches("b", epoch=5, previous=early[-1].end)
        log.append([*early, *late])
        assert log.epoch == 5
        assert log.begin_reign() == 6
        log.append(make_batches("c", epoch=5, previous=late[-1].end))
        assert log.epoch == 6

    @pytest.mark.parametrize("max_bytes", [1, 300, 1_200, MAX_BATCH_BYTES])
    def test_reading_starts_at_the_batch_that_holds_the_offset_and_gives_as_many_as_asked_for(
        self, log: WritableLog, reader: ReadableLog, max_bytes: int
    ) -> None:
        log.adopt(LOG_ID)
        log.append(BATCHES)
        for offset in range(log.end.offset):
            expected = [batch for batch in BATCHES if batch.end.offset > offset]
            while len(expected) > 1 and sum(len(batch.data) for batch in expected) > max_bytes:
                expected.pop()
            assert reader.read(offset, max_bytes) == expected

    def test_there_is_nothing_to_read_at_the_end_nor_beyond(self, log: WritableLog, reader: ReadableLog) -> None:
        log.adopt(LOG_ID)
        log.append(BATCHES)
        assert reader.read(log.end.offset, MAX_BATCH_BYTES) == []
        assert reader.read(log.end.offset + 1, MAX_BATCH_BYTES) == []

    def test_the_chain_is_known_where_batches_end_and_nowhere_else(self, log: WritableLog, reader: ReadableLog) -> None:
        log.adopt(LOG_ID)
        log.append(BATCHES)
        known = {START.offset: START.chain, **{batch.end.offset: batch.chain for batch in BATCHES}}
        for offset in range(log.end.offset + 2):
            assert reader.chain_at(offset) == known.get(offset)

    def test_an_append_with_a_key_is_found_by_it_where_it_is(self, log: WritableLog, reader: ReadableLog) -> None:
        log.adopt(LOG_ID)
        log.append([make_keyed_batch((None, ["a"]), ("k1", ["b", "c"]), ("k2", ["d"]), epoch=3)])
        log.append([make_keyed_batch(("k3", ["b", "c"]), previous=log.end, epoch=4)])
        assert reader.find_key("k1") == KeyedAppend("k1", digest([b"b", b"c"]), 1, 2, 3)
        assert reader.find_key("k2") == KeyedAppend("k2", digest([b"d"]), 3, 1, 3)
        assert reader.find_key("k3") == KeyedAppend("k3", digest([b"b", b"c"]), 4, 2, 4)
        for other in ("k4", "K1", "k1 ", ""):
            assert reader.find_key(other) is None

    def test_the_last_appends_with_a_key_are_remembered_however_they_came(
        self, log: WritableLog, reader: ReadableLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(key_index, "REMEMBERED", 3)
        log.adopt(LOG_ID)
        for keys in (["a"], ["b", "c", "d"], [None], ["e"], ["f", "g", "h", "i"]):
            log.append([make_keyed_batch(*((key, [f"of {key}"]) for key in keys), previous=log.end)])
        remembered = [key for key in "abcdefghi" if reader.find_key(key) is not None]
        assert remembered == ["g", "h", "i"]

    def test_a_forgotten_key_can_be_used_again_and_is_found_where_it_was_used_last(
        self, log: WritableLog, reader: ReadableLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(key_index, "REMEMBERED", 2)
        log.adopt(LOG_ID)
        for offset, key in enumerate("abcacb"):
            log.append([make_keyed_batch((key, [str(offset)]), previous=log.end)])
        found = {key: reader.find_key(key) for key in "abc"}
        assert {key: keyed.first_offset for key, keyed in found.items() if keyed} == {"b": 5, "c": 4}
