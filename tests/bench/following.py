"""How fast records reach those who follow the log by server-sent events while it is written."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from tests.bench.filling import append_one
from tests.bench.light_reader import EVENTS, LightReader, Read
from tests.bench.load import LoadError
from tests.bench.ours import ALL, Ours

_LAST: Final = "the last one"


@dataclass(frozen=True, slots=True)
class Following:
    """``followers`` of the master got each of ``records`` records of 100 bytes that were written meanwhile.

    ``written`` and ``delivered`` are in records a second: what the writers were answered, and what each follower got
    until the slowest had everything. That was ``behind_s`` seconds after the last record's answer, or before it.
    """

    followers: int
    records: int
    written: float
    delivered: float
    behind_s: float


def measure(ours: Ours, *, followers: int, clients: int, seconds: float) -> Following:
    """Follow while ``clients`` append batches of 1,000, w=3. Raises LoadError."""
    start = ours.end_offset()
    # Left last to first: when the load fails, the streams are closed, and no thread waits for more of them.
    with ThreadPoolExecutor(followers, "follow") as threads, ExitStack() as streams:
        readers = [streams.enter_context(LightReader(ours.url, EVENTS, start=start)) for _ in range(followers)]
        begun_at = time.perf_counter()
        following = [threads.submit(_follow, reader) for reader in readers]
        load = ours.batches(clients, seconds)
        last = append_one(ours.url, _LAST, w=ALL)
        answered_at = time.perf_counter()
        followed = [one.result() for one in following]
    ended_at = max(at for _, at in followed)
    for read, _ in followed:
        # A request that was under way when the load ended may have been appended even after the last one.
        if not last <= read.last_offset <= last + clients * 1000:
            raise LoadError(f"the last record is at offset {last}, but a follower got {read}")
    return Following(
        followers=followers,
        records=last - start + 1,
        written=load.rate,
        delivered=(last - start + 1) / (ended_at - begun_at),
        behind_s=ended_at - answered_at,
    )


def _follow(reader: LightReader) -> tuple[Read, float]:
    """Read up to the last record, and note when it was there."""
    read = reader.read(until=f'"message": "{_LAST}"}}\n'.encode())
    return read, time.perf_counter()
