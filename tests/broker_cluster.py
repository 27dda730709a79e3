"""A RabbitMQ of three nodes, as local processes."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

from infra.broker.broker import BrokerError, wait_until
from infra.broker.get_json import get_json
from infra.broker.local import LocalBroker

_NODES: Final = ("a", "b", "c")
_PATIENCE_S: Final = 60.0


class BrokerCluster:
    """A context in which the ``brokers`` run, as one cluster. All methods block."""

    def __init__(self, directory: Path) -> None:
        """Raises BrokerError when there is no rabbitmq-server and none can be installed."""
        first = LocalBroker(directory / _NODES[0], name=_NODES[0])
        self.brokers = [first, *(LocalBroker(directory / name, name=name, beside=first) for name in _NODES[1:])]
        self._running = ExitStack()

    def __enter__(self) -> Self:
        """Raises BrokerError."""
        with ExitStack() as starting:
            for broker in self.brokers:
                broker.start()
                # What it would save in its last moments is thrown away.
                starting.callback(broker.stop, grace_s=0)
            self.wait_until_whole()
            self._running = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def asks(self, what: str) -> Any:
        """What the first node's management API says; None when it does not answer."""
        first = self.brokers[0]
        return get_json(f"{first.management_url}/api/{what}", first.management_auth)

    def wait_until_whole(self) -> None:
        """Raises BrokerError when some node does not come to run beside the others."""
        if not wait_until(self._is_whole, while_=lambda: True, timeout_s=_PATIENCE_S):
            raise BrokerError(f"the nodes are no cluster: {self.asks('nodes')}")

    def _is_whole(self) -> bool:
        nodes = self.asks("nodes")
        return nodes is not None and [node["running"] for node in nodes] == [True] * len(_NODES)
