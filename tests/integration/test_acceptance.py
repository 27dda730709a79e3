"""The acceptance test of the course in which the project began."""

import asyncio

from tests.cluster import eventually
from tests.integration.conftest import BOTH_WAYS_ALWAYS, NewCluster

pytestmark = BOTH_WAYS_ALWAYS


async def test_the_acceptance_test_of_the_course(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {}, "node2": {}}) as cluster:
        cluster.master.start()
        cluster["node1"].start()
        await eventually(cluster.master.status, "the master serves")
        assert (await cluster.master.append("Msg1", w=1))["offset"] == 0
        assert (await cluster.master.append("Msg2", w=2))["offset"] == 1
        async with asyncio.TaskGroup() as clients:
            waiting = clients.create_task(cluster.master.append("Msg3", w=3))

            async def is_appended() -> bool:
                return len(await cluster.master.messages()) == 3

            await eventually(is_appended, "Msg3 is in the master's log")
            assert (await cluster.master.append("Msg4", w=1))["offset"] == 3
            assert not waiting.done()
            cluster["node2"].start()
        assert waiting.result()["offset"] == 2
        assert await cluster.converged() == ["Msg1", "Msg2", "Msg3", "Msg4"]
