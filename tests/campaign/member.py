"""One node in the campaign: its process, its way to the broker, and what is seen of its disk."""

import asyncio
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

from replicated_log.storage.log_reader import LogReader, database
from replicated_log.wire.batch import Batch, Position, decode_batches
from tests.campaign.witness import Disk, Witness, told
from tests.cluster import Node
from tests.faults_disk import SmallDisk
from tests.tcp_proxy import TcpProxy

SLICE_BYTES = 4 << 20
PAGE = 20


class Member:
    """Its process ends only where a fault says so: :meth:`may_end`."""

    def __init__(self, node: Node, way: TcpProxy, witness: Witness, small_disk: SmallDisk | None) -> None:
        self.node = node
        self.way = way
        self.small_disk = small_disk
        self.peak_memory_mib = 0.0
        self._witness = witness
        self._ends = 0
        self._looking = asyncio.Lock()
        self._read_log = 0

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def disk(self) -> Disk:
        return self._witness.disks[self.name]

    @property
    def has_ended_by_itself(self) -> bool:
        process = self.node.process
        return not self._ends and process is not None and process.poll() is not None

    @contextmanager
    def may_end(self) -> Iterator[None]:
        self._ends += 1
        try:
            yield
        finally:
            self._ends -= 1

    def start(self) -> None:
        self._witness.opened(self.name)
        self.node.start()

    async def kill(self) -> None:
        """kill -9, and a look at what is on the disk then."""
        process = self.node.process
        assert process is not None
        with self.may_end():
            await asyncio.to_thread(self.node.kill)
        # The watch, which looks from time to time, may not have seen the end of one that has ended just before.
        assert process.returncode == -signal.SIGKILL, f"{self.name} had ended by itself, with {process.returncode}"
        await self.look_at_rest()

    async def stop(self) -> None:
        """SIGTERM: the process must end in good order."""
        with self.may_end():
            exit_code = await asyncio.to_thread(self.node.stop)
        assert exit_code == 0, f"{self.name} ended with {exit_code} on SIGTERM"
        await self.look_at_rest()

    async def come_to_rest(self) -> None:
        """kill -9 unless it has ended, and a look at what is on the disk then."""
        with self.may_end():
            if self.node.process is not None:
                await asyncio.to_thread(self.node.kill)
        await self.look_at_rest()

    async def ends(self, last_line: str) -> None:
        """Wait for the process to end by itself, as it must: exit code 1, and ``last_line`` in its last line.

        The caller has taken it off watch by :meth:`may_end` before it caused this.
        """
        exit_code = await asyncio.to_thread(self.node.exit_code)
        said = self.node.logged().splitlines()[-1]
        assert exit_code == 1, f"{self.name} ended with {exit_code}: {said}"
        assert last_line in said, f"{self.name} ended, and its last line is: {said}"

    async def wipe(self) -> None:
        """Empty the data directory of a process that does not run."""
        async with self._looking:
            await asyncio.to_thread(_empty, self.node.data)
            self._witness.wiped(self.name)

    async def set_aside(self) -> None:
        """Have the node set aside its log. The campaign has no use for it, and does not keep it."""
        async with self._looking:
            await asyncio.to_thread(self.node.command, "set-aside")
            for aside in self.node.data.parent.glob(f"{self.node.data.name}.aside-*"):
                await asyncio.to_thread(shutil.rmtree, aside)
            self._witness.wiped(self.name)

    async def look(self) -> None:
        """See what the running node shows of its log that was not seen yet. Raises ClientError when it can't be had."""
        async with self._looking:
            disk, began = self.disk, self._witness.now()
            # Where the log ends is what this says: the node gives its batches in pieces, which may be behind.
            status = await self.node.status()
            batches: list[Batch] = []
            end = disk.end.offset
            while end < status["end_offset"] and (more := decode_batches(await self.node.batches(end))):
                batches += more
                end = more[-1].end.offset
            self._witness.look(disk, began, batches, status["end_offset"], status["committed_end"])

    async def read_some(self, random: Random) -> None:
        """Read a page as clients do: it must be what has been seen there."""
        disk = self.disk
        if not disk.records:
            return
        start = random.randrange(len(disk.records))
        page = (await self.node.get(f"/messages?from={start}&limit={PAGE}"))["messages"]
        if self.disk is disk:
            known = [
                (start + n, epoch, message) for n, (epoch, _, message) in enumerate(disk.records[start : start + PAGE])
            ]
            shown = [(record["offset"], record["epoch"], told(record["message"])) for record in page]
            assert shown, f"{disk.name} shows nothing from {start} on"
            assert shown[: len(known)] == known[: len(shown)], f"{disk.name} shows {shown} at {start}, not {known}"

    async def look_at_rest(self) -> None:
        """See what is on the disk of a process that does not run."""
        async with self._looking:
            began = self._witness.now()
            batches, end = await asyncio.to_thread(read_at_rest, self.node.data, self.disk.end.offset)
            self._witness.look(self.disk, began, batches, end.offset if end else 0)

    async def visited(self, began: float, visitor: Disk) -> None:
        """See what is on this node's own disk, now that a process that had its name is gone."""
        async with self._looking:
            pass
        await self.look()
        async with self._looking:
            self._witness.visited(self.name, began, visitor)

    def measure_memory(self) -> None:
        try:
            if self.node.process is not None:
                self.peak_memory_mib = max(self.peak_memory_mib, self.node.peak_memory_mib())
        except (OSError, IndexError):
            return  # It is ending, and has no memory any more.

    def new_log_text(self) -> str:
        """What the process has logged since this was asked last."""
        with self.node.log_file.open("rb") as log:
            log.seek(self._read_log)
            text = log.read()
        self._read_log += len(text)
        return text.decode(errors="replace")


def read_at_rest(directory: Path, from_offset: int) -> tuple[list[Batch], Position | None]:
    """The batches from ``from_offset`` on, and where the log ends; None when there is no log yet."""
    if not database(directory).exists():
        return [], None
    with closing(LogReader.open(directory)) as reader:
        try:
            end = reader.verified_end(1)
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            return [], None
        batches: list[Batch] = []
        while more := reader.read(from_offset, SLICE_BYTES):
            batches += more
            from_offset = batches[-1].end.offset
    return batches, end


def _empty(directory: Path) -> None:
    for file in directory.iterdir():
        file.unlink()
