"""All that is measured, by name, in the order in which it is done."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from tests.bench import alone, goals
from tests.bench.appending import beside, plain_amqp, singles
from tests.bench.bench import Bench
from tests.bench.etcd import Etcd
from tests.bench.floor import floor
from tests.bench.postgresql import PostgreSQL
from tests.bench.quorum_queue import QuorumQueue
from tests.bench.redis import Redis

EXPERIMENTS: Final[Mapping[str, Callable[[Bench], None]]] = {
    "singles": singles,
    "plain-amqp": plain_amqp,
    "floor": floor,
    "postgresql": partial(beside, PostgreSQL, goals.POSTGRESQL),
    "redis": partial(beside, Redis, goals.REDIS),
    "etcd": partial(beside, Etcd, goals.ETCD),
    "quorum-queue": partial(beside, QuorumQueue, goals.QUORUM_QUEUE),
    "slow-secondary": alone.unhealthy_secondary,
    "reading": alone.read,
    "following": alone.follow,
    "catch-up": alone.catch_up_of_batches,
    "catch-up-singles": alone.catch_up_of_singles,
    "broker-restart": alone.restart_of_broker,
    "memory": alone.memory_of_processes,
}
