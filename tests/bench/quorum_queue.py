"""RabbitMQ's own replicated log: a quorum queue on a cluster of three."""

import json
import secrets
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar, Final, Self

from infra.broker.broker import BrokerError
from tests.bench import quorum_queue_load
from tests.bench.children import output_of
from tests.bench.latencies import load_of
from tests.bench.load import Load, LoadError
from tests.bench.ours import MESSAGE
from tests.bench.peer import MissingPeerError, Peer
from tests.broker_cluster import BrokerCluster

_PATIENCE_S: Final = 60.0


class QuorumQueue(Peer):
    """Each run publishes to a queue of its own, whose leader is on node ``a``: no run finds what others have left."""

    name: ClassVar[str] = "RabbitMQ quorum queue"
    promise: ClassVar[str] = (
        "A confirm: a majority, at least two of the three nodes, has the message in its Raft log, fdatasynced. "
        "The third may not have it yet. The load is aio-pika's, as an application's is: what that costs counts, too."
    )
    has_batches: ClassVar[bool] = False

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.cluster: BrokerCluster
        self._running = ExitStack()

    @property
    def version(self) -> str:
        version: str = self.cluster.asks("overview")["rabbitmq_version"]
        return version

    def __enter__(self) -> Self:
        try:
            self.cluster = BrokerCluster(self.directory)
        except BrokerError as error:
            raise MissingPeerError(str(error)) from error
        try:
            self._running.enter_context(self.cluster)
        except BrokerError as error:
            raise LoadError(str(error)) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def singles(self, clients: int, seconds: float) -> Load:
        url = self.cluster.brokers[0].amqp_url
        arguments = (url, secrets.token_hex(4), MESSAGE, clients, seconds)
        command = [sys.executable, "-P", quorum_queue_load.__file__, *map(str, arguments)]
        report = json.loads(output_of(command, timeout_s=seconds + _PATIENCE_S))
        return load_of(report["latencies_s"], seconds=report["took_s"])
