"""How long after a restart of the broker a client that waits for all nodes is answered."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from statistics import median
from typing import Final
from urllib.parse import urlsplit

from tests.bench.filling import append_one
from tests.bench.load import LoadError
from tests.bench.ours import ALL, Ours
from tests.cluster import eventually

_LOOK_EVERY_S: Final = 0.002
_PATIENCE_S: Final = 90.0
_STOP_GRACE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class BrokerRestart:
    """Of each restart, the seconds from the broker's taking connections until an append with w=3 was answered.

    The append was made while there was no broker, and has waited ever since.
    """

    seconds: tuple[float, ...]

    @property
    def median_s(self) -> float:
        return median(self.seconds)


def measure(ours: Ours, *, runs: int) -> BrokerRestart:
    """Restart the broker ``runs`` times; afterwards all is healthy again. Raises LoadError and BrokerError."""
    return BrokerRestart(tuple(_one_run(ours) for _ in range(runs)))


def _one_run(ours: Ours) -> float:
    ours.broker.stop(_STOP_GRACE_S)
    with ThreadPoolExecutor(2, "restart") as threads:
        answered = threads.submit(_append, ours.url)
        started = threads.submit(ours.broker.start)
        taken_at = _takes_connections(ours)
        started.result()
        took_s = answered.result() - taken_at
    ours.run(eventually(ours.cluster.is_healthy, "every secondary is healthy"))
    return took_s


def _append(url: str) -> float:
    """Append with w=3; when it was answered."""
    append_one(url, "sent without a broker", w=ALL)
    return time.perf_counter()


def _takes_connections(ours: Ours) -> float:
    """Wait until the broker does; when that was. It opens this port last."""
    address = urlsplit(ours.broker.amqp_url)
    latest = time.perf_counter() + _PATIENCE_S
    while (now := time.perf_counter()) < latest:
        try:
            with closing(socket.create_connection((address.hostname, address.port), 1)):
                return now
        except OSError:
            time.sleep(_LOOK_EVERY_S)
    raise LoadError(f"after {_PATIENCE_S:g} s the broker takes no connections")
