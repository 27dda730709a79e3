"""A RabbitMQ: where it is, what it is, and whether it answers."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from infra.broker.get_json import get_json

# The settings of every RabbitMQ that this project starts.
SETTINGS = Path(__file__).parents[1].absolute() / "rabbitmq.conf"


class BrokerError(RuntimeError):
    """There is no broker, or it does not come up. The text is for the user: what happened, or what to install."""


@dataclass(frozen=True)
class Broker:
    """A RabbitMQ with the management plugin. `description` says in a few words which, and why this one."""

    amqp_url: str
    management_url: str
    user: str
    password: str
    description: str

    @property
    def management_auth(self) -> tuple[str, str]:
        return self.user, self.password

    def is_ready(self) -> bool:
        """Whether the management API answers and lists an AMQP listener; RabbitMQ opens that last."""
        overview = get_json(f"{self.management_url}/api/overview", self.management_auth)
        return overview is not None and any(listener["protocol"] == "amqp" for listener in overview["listeners"])


class OwnBroker(Broker, ABC):
    """A broker that we start and stop, always at the same addresses; a context in which it runs."""

    @abstractmethod
    def start(self) -> None:
        """On return the broker takes connections. Raises BrokerError when it does not come up; then nothing is left."""

    @abstractmethod
    def stop(self) -> None:
        """On return nothing of it runs. Does nothing when it does not run."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def wait_until(condition: Callable[[], bool], *, while_: Callable[[], bool], timeout_s: float) -> bool:
    """Wait until `condition` holds; False when `while_` no longer does, or after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while while_() and time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


def end_of(log: Path) -> str:
    """The last 20 lines of a log file."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
