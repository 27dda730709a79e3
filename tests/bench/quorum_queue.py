"""RabbitMQ's own replicated log: a quorum queue on a cluster of three."""

import json
import secrets
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from infra.broker.broker import BrokerError, wait_until
from infra.broker.get_json import get_json
from infra.broker.local import LocalBroker
from tests.bench import quorum_queue_load
from tests.bench.children import output_of
from tests.bench.latencies import load_of
from tests.bench.load import Load, LoadError
from tests.bench.ours import MESSAGE
from tests.bench.peer import MissingPeerError, Peer

_NODES: Final = ("a", "b", "c")
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
        self.brokers: list[LocalBroker] = []
        self._running = ExitStack()

    @property
    def version(self) -> str:
        version: str = self._asks("overview")["rabbitmq_version"]
        return version

    def __enter__(self) -> Self:
        self.brokers.clear()
        with ExitStack() as starting:
            for node in _NODES:
                broker = self._broker(node)
                self.brokers.append(broker)
                broker.start()
                # What it would save in its last moments is thrown away.
                starting.callback(broker.stop, grace_s=0)
            if not wait_until(self._is_whole, while_=lambda: True, timeout_s=_PATIENCE_S):
                raise LoadError(f"the nodes are no cluster: {self._asks('nodes')}")
            self._running = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def singles(self, clients: int, seconds: float) -> Load:
        arguments = (self.brokers[0].amqp_url, secrets.token_hex(4), MESSAGE, clients, seconds)
        command = [sys.executable, "-P", quorum_queue_load.__file__, *map(str, arguments)]
        report = json.loads(output_of(command, timeout_s=seconds + _PATIENCE_S))
        return load_of(report["latencies_s"], seconds=report["took_s"])

    def _broker(self, node: str) -> LocalBroker:
        beside = self.brokers[0] if self.brokers else None
        try:
            return LocalBroker(self.directory / node, name=node, beside=beside)
        except BrokerError as error:
            raise MissingPeerError(str(error)) from error

    def _is_whole(self) -> bool:
        nodes = self._asks("nodes")
        return nodes is not None and [node["running"] for node in nodes] == [True] * len(_NODES)

    def _asks(self, what: str) -> Any:
        """What the first node's management API says; None when it does not answer."""
        first = self.brokers[0]
        return get_json(f"{first.management_url}/api/{what}", first.management_auth)
