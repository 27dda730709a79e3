"""How fast an empty secondary gets the log that the master has."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import aiohttp

from tests.bench.filling import MESSAGE_BYTES
from tests.bench.load import LoadError
from tests.bench.ours import Ours
from tests.cluster import Cluster, Node, cluster_of, eventually
from tests.long_log import write_long_log

_PATIENCE_S: Final = 600


@dataclass(frozen=True, slots=True)
class CatchUp:
    """The log had ``records`` records of 100 bytes, in batches of ``batch_records``.

    The rates are in records a second, until the secondary had them all on disk: ``fetching`` since it was first seen to
    fetch, ``starting`` since its process was started.
    """

    records: int
    batch_records: int
    fetching: tuple[float, ...]
    starting: tuple[float, ...]

    @property
    def rate(self) -> float:
        return median(self.fetching)

    @property
    def rate_from_start(self) -> float:
        return median(self.starting)


def measure(ours: Ours, directory: Path, *, records: int, batch_records: int, runs: int) -> CatchUp:
    """Let a secondary with an empty disk catch up with a master beside ours, ``runs`` times.

    Both use our broker, and have their data in ``directory``, which is made. Raises LoadError.
    """
    directory.mkdir(parents=True)
    return ours.run(_measure(ours.broker.amqp_url, directory, records, batch_records, runs))


async def _measure(amqp_url: str, directory: Path, records: int, batch_records: int, runs: int) -> CatchUp:
    async with cluster_of(amqp_url, directory, {"late": {}}) as cluster:
        write_long_log(cluster.master.data, cluster.master.name, records, MESSAGE_BYTES, batch_records=batch_records)
        cluster.master.start()
        await eventually(cluster.master.status, "the master serves")
        times = [await _one_run(cluster, cluster["late"], records) for _ in range(runs)]
    fetching, starting = zip(*times, strict=True)
    return CatchUp(
        records,
        batch_records,
        tuple(records / took_s for took_s in fetching),
        tuple(records / took_s for took_s in starting),
    )


async def _one_run(cluster: Cluster, late: Node, records: int) -> tuple[float, float]:
    """The seconds from the first fetch, and from the process's start, until the whole log was on disk."""

    async def fetches() -> bool:
        return bool((await late.status())["counts"].get("fetches"))

    async def is_counted() -> bool:
        (seen,) = (await cluster.master.status())["secondaries"]
        return bool(seen["acked_end"] == records)

    started_at = time.perf_counter()
    late.start()
    await eventually(fetches, "the secondary fetches")
    fetches_at = time.perf_counter()
    await _has(cluster, late, records - 1)
    arrived_at = time.perf_counter()
    # The master counts what has been acked only where the chain up to there is its own: both logs are equal.
    await eventually(is_counted, "the master has verified what the secondary holds")
    late.stop()
    shutil.rmtree(late.data)
    return arrived_at - fetches_at, arrived_at - started_at


async def _has(cluster: Cluster, node: Node, offset: int) -> None:
    """Return as soon as the node has a record, without asking twice."""
    path = f"/messages/{offset}?min_offset={offset}&timeout={_PATIENCE_S}"
    timeout = aiohttp.ClientTimeout(_PATIENCE_S)
    async with cluster.http.get(node.url + path, timeout=timeout) as response:
        if response.status != 200:
            raise LoadError(f"{node.name} answered {path} with {response.status}: {await response.text()}")
