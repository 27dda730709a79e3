"""The test run's RabbitMQ when there is a Docker engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testcontainers.community.rabbitmq import RabbitMqContainer
from testcontainers.core.config import ConnectionMode, testcontainers_config

from infra.broker.broker import SETTINGS, BrokerError, OwnBroker, wait_until
from infra.broker.docker import IMAGE, SETTINGS_IN_IMAGE, docker_problem
from infra.broker.free_ports import free_ports
from infra.broker.local import LocalBroker

# The fixture removes its container itself; ryuk, which would do it too, is one more image to pull.
testcontainers_config.ryuk_disabled = True
# Ports are published on loopback, so the address that testcontainers guesses where it sees a sandbox is wrong.
testcontainers_config.connection_mode_override = ConnectionMode.docker_host


class ContainerBroker(OwnBroker):
    """A RabbitMQ in a container, on loopback, that can be bounced: its ports and its data stay."""

    def __init__(self) -> None:
        amqp_port, management_port = free_ports(2)
        super().__init__(
            amqp_url=f"amqp://guest:guest@127.0.0.1:{amqp_port}/",
            management_url=f"http://127.0.0.1:{management_port}",
            user="guest",
            password="guest",
            description=f"{IMAGE} in Docker",
        )
        self._container = RabbitMqContainer(IMAGE).with_volume_mapping(SETTINGS, SETTINGS_IN_IMAGE, "ro,z")
        # The Docker client takes pairs of address and port, though testcontainers only speaks of ports.
        published = {"5672": ("127.0.0.1", amqp_port), "15672": ("127.0.0.1", management_port)}
        self._container.ports = published  # type: ignore[assignment]  # it takes addresses too
        self._exists = False

    def start(self) -> None:
        try:
            if self._exists:
                self._container.get_wrapped_container().start()
            else:
                self._exists = True
                self._container.start()
            self._wait()
        except BaseException:
            self.stop()
            raise

    def restart(self) -> None:
        """A clean stop, then a start with the same data at the same addresses."""
        self._container.get_wrapped_container().restart(timeout=20)
        self._wait()

    def kill(self) -> None:
        """kill -9 the broker; `start` brings it back with what it had on disk."""
        self._container.get_wrapped_container().kill()
        self._container.get_wrapped_container().wait()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop every process of the broker where it is; let them go on when leaving the context."""
        self._container.get_wrapped_container().pause()
        try:
            yield
        finally:
            self._container.get_wrapped_container().unpause()

    def ctl(self, *arguments: str) -> None:
        """rabbitmqctl, which must succeed."""
        command = ["rabbitmqctl", *arguments]
        exit_code, output = self._container.get_wrapped_container().exec_run(command, user="rabbitmq")
        if exit_code != 0:
            raise BrokerError(f"{' '.join(command)}: {output.decode()}")

    def stop(self) -> None:
        if self._exists:
            self._container.stop()
            self._exists = False

    def _wait(self) -> None:
        if not wait_until(self.is_ready, while_=lambda: True, timeout_s=60):
            raise BrokerError(f"{IMAGE} did not come up:\n{self._container.get_logs()[0].decode()[-3000:]}")


AnyBroker = ContainerBroker | LocalBroker
"""What the `broker` fixture gives."""


def own_broker(directory: Path, choice: str | None) -> tuple[AnyBroker, str]:
    """A broker for one run, not started yet, and why this one: ``choice`` "local" keeps it from Docker."""
    problem = "BROKER=local" if choice == "local" else docker_problem(IMAGE)
    running: AnyBroker = LocalBroker(directory) if problem else ContainerBroker()
    return running, f"{running.description}{f' ({problem})' if problem else ''}"
