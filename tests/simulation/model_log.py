"""A log on a model disk: the methods of replicated_log.log.Log and LogReader, without files.

The disk keeps apart what is durable and what was only written: a crash of the process leaves the latter in the
operating system's cache, a power cut loses it, and tears it at any batch it likes.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final

from replicated_log.storage import key_index
from replicated_log.wire.batch import START, Batch, Position, decode_batches
from replicated_log.wire.errors import DiskFullError
from replicated_log.wire.idempotency import KeyedAppend
from tests.simulation.history import Record

_FLAGS_AT: Final = 3


class ModelDisk:
    """What survives the end of a process.

    Invariant: ``records`` and ``digest`` are those of ``batches``, ``keys`` their last ones; all of that is durable.

    ``on_durable`` is told of every change: first offset, and the records that have become durable there.
    """

    def __init__(self, label: str, fresh_id: Callable[[], str]) -> None:
        self.label = label
        self.fresh_id = fresh_id
        self.disk_id = fresh_id()
        self.log_id: str | None = None
        self.epoch = 0
        self.batches: list[Batch] = []
        self.places: dict[int, int] = {0: 0}
        self.records: list[Record] = []
        self.keys: dict[str, KeyedAppend] = {}
        self.written: tuple[Batch, ...] = ()
        self.adopting: str | None = None
        self.noting = 0
        self.full = False
        self.on_durable: Callable[[ModelDisk, int, tuple[Record, ...]], None] | None = None
        self._hash = blake2b(digest_size=8)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    @property
    def end(self) -> Position:
        return self.batches[-1].end if self.batches else START

    def write(self, batches: Sequence[Batch], *, adopt: str | None = None, epoch: int = 0) -> None:
        """Hand batches, a log id to adopt, and an epoch to note, to the operating system. Nothing is durable yet."""
        self.written, self.adopting, self.noting = tuple(batches), adopt, epoch

    def sync(self) -> None:
        """Make durable what was written."""
        if self.adopting not in {None, self.log_id}:
            self.log_id, self.epoch = self.adopting, 0
        self.epoch, self.adopting, self.noting = max(self.epoch, self.noting), None, 0
        written, self.written = self.written, ()
        for batch in written:
            first = batch.first_offset
            records = tuple((batch.epoch, batch.time_ms, message) for message in batch.messages())
            self.batches.append(batch)
            self.records.extend(records)
            self.places[len(self.records)] = len(self.batches)
            self.index(batch)
            self.epoch = max(self.epoch, batch.epoch)
            self._hash.update(batch.data)
            if self.on_durable is not None:
                self.on_durable(self, first, records)

    def index(self, batch: Batch) -> None:
        """The keys are in their order, so that the first is the next to be forgotten."""
        for keyed in decode_batches(batch.data)[0].keyed_appends if batch.data[_FLAGS_AT] else ():
            self.keys.pop(keyed.key, None)
            self.keys[keyed.key] = keyed
        while len(self.keys) > key_index.REMEMBERED:
            del self.keys[next(iter(self.keys))]

    def cut_power(self) -> None:
        """Lose what was not durable."""
        self.written, self.adopting, self.noting = (), None, 0

    def forget_after(self, batches: int, epochs: int) -> None:
        """Be as the disk was when it held so many batches, and so many epochs ago."""
        kept = self.batches[:batches]
        self.batches, self.records, self.keys, self.places = [], [], {}, {0: 0}
        self._hash = blake2b(digest_size=8)
        epoch, told = self.epoch - epochs, self.on_durable
        self.on_durable = None
        self.epoch = 0
        self.write(kept)
        self.sync()
        self.epoch, self.on_durable = max(epoch, self.epoch), told

    def copy(self, label: str) -> "ModelDisk":
        """A copy of the whole data directory as it is on the disk, its identity included."""
        copy = ModelDisk(label, self.fresh_id)
        copy.disk_id, copy.log_id = self.disk_id, self.log_id
        copy.write(self.batches)
        copy.sync()
        copy.epoch = self.epoch
        copy.on_durable = self.on_durable
        return copy


class ModelLog:
    """Keeps the contracts of Log and LogReader: what was written before is made durable when the log is opened."""

    def __init__(self, disk: ModelDisk) -> None:
        self.disk = disk
        disk.sync()

    @property
    def disk_id(self) -> str:
        return self.disk.disk_id

    @property
    def log_id(self) -> str | None:
        return self.disk.log_id

    @property
    def epoch(self) -> int:
        return self.disk.epoch

    @property
    def end(self) -> Position:
        return self.disk.end

    def begin_reign(self) -> int:
        if self.disk.log_id is None:
            self.disk.log_id = self.disk.fresh_id()
        self.disk.epoch += 1
        return self.disk.epoch

    def adopt(self, log_id: str) -> None:
        self.append((), adopt=log_id)

    def append(self, batches: Sequence[Batch], *, adopt: str | None = None, epoch: int = 0) -> None:
        log_id = adopt or self.log_id
        assert log_id == self.log_id or self.end == START
        end = self.end
        for batch in batches:
            assert (batch.log_id, batch.first_offset) == (log_id, end.offset)
            end = batch.end
        self._room()
        self.disk.write(batches, adopt=adopt, epoch=epoch)
        self.disk.sync()

    def read(self, from_offset: int, max_bytes: int) -> list[Batch]:
        disk = self.disk
        if from_offset >= len(disk.records):
            return []
        start = from_offset
        while start not in disk.places:
            start -= 1
        found: list[Batch] = []
        size = 0
        for batch in disk.batches[disk.places[start] :]:
            size += len(batch.data)
            if found and size > max_bytes:
                break
            found.extend(decode_batches(batch.data))
        return found

    def chain_at(self, offset: int) -> bytes | None:
        place = self.disk.places.get(offset)
        if place is None:
            return None
        return self.disk.batches[place - 1].chain if place else START.chain

    def find_key(self, key: str) -> KeyedAppend | None:
        return self.disk.keys.get(key)

    def _room(self) -> None:
        if self.disk.full:
            raise DiskFullError(f"no room on {self.disk.label}")
