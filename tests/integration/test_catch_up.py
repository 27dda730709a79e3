"""A secondary that is a million records behind arrives, while a thousand more come each second."""

from dataclasses import dataclass

import pytest

from replicated_log.storage.log import Log
from replicated_log.wire.batch import encode_batch
from tests.cluster import Cluster, Node, eventually
from tests.integration.conftest import BOTH_WAYS, NewCluster
from tests.paced_load import PER_SECOND, paced_load

RECORDS = 1_000_000
MEMORY_BOUND_MIB = 150
"""An idle process has 50 MiB and the log 110: whoever holds all of it in memory has more."""


def write_log(node: Node) -> None:
    """A log of RECORDS records of 100 bytes, in batches of 1,000."""
    log = Log.open(node.data, node.name)
    log.begin_reign()
    assert log.log_id is not None
    for first in range(0, RECORDS, 1000):
        messages = [b"%0100d" % n for n in range(first, first + 1000)]
        log.append([encode_batch(messages, log_id=log.log_id, epoch=1, time_ms=0, previous=log.end)])
    log.close()


@dataclass(frozen=True, slots=True)
class Seen:
    """The late secondary's way, as it shows it itself and as the master does."""

    end_offset: int
    lag: int
    acked_end: int
    lag_by_master: int


async def look_at(late: Node, cluster: Cluster) -> Seen:
    own = await late.status()
    (seen,) = (one for one in (await cluster.master.status())["secondaries"] if one["name"] == late.name)
    return Seen(own["end_offset"], own["lag"], seen["acked_end"], seen["lag"])


@pytest.mark.slow
@pytest.mark.alone
@BOTH_WAYS
async def test_a_secondary_a_million_records_behind_catches_up_under_load(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {}, "late": {}}) as cluster:
        late = cluster["late"]
        write_log(cluster.master)
        cluster.master.start()
        cluster["node1"].start()
        await eventually(cluster.master.status, "the master serves")
        await cluster.master.append("the first live one, which node1 can only ack when it holds all the others", w=2)

        way: list[Seen] = []

        async def has_caught_up() -> bool:
            way.append(await look_at(late, cluster))
            return way[-1].acked_end >= RECORDS and max(way[-1].lag, way[-1].lag_by_master) < PER_SECOND

        async with paced_load(cluster.master, w=2) as load:
            await eventually(lambda: load.pace.due > PER_SECOND, "the load is on")
            begun = load.pace
            await eventually(lambda: load.pace.due > 5 * PER_SECOND, "it is known what this machine makes of the load")
            alone = load.pace
            assert not late.data.exists(), "it starts from an empty disk"
            late.start()
            await eventually(has_caught_up, "the late secondary has caught up under load")
            arrived = load.pace

        # Side by side on one machine, with as much doing as there was: a master that makes its clients wait while it
        # answers fetches would have answered next to nothing of what was due meanwhile.
        assert arrived.share_since(alone) > alone.share_since(begun) / 2, (begun, alone, arrived)
        ends = [seen.end_offset for seen in way]
        acked_ends = [seen.acked_end for seen in way]
        assert ends == sorted(ends)
        assert acked_ends == sorted(acked_ends)
        assert any(0 < seen.end_offset < RECORDS and seen.lag > 0 for seen in way), "its own status shows the progress"
        assert any(0 < seen.acked_end < RECORDS for seen in way), "the master's status shows the progress"

        # The master counts an ack only when the chain up to there is its own: all three logs are equal.
        await cluster.master.append("the end", w=3)
        assert [(await node.status())["end_offset"] for node in cluster.nodes] == [RECORDS + load.pace.answered + 2] * 3
        for node in cluster.nodes:
            assert node.peak_memory_mib() < MEMORY_BOUND_MIB, node.name
