"""RabbitMQ in a Docker container of our own, for the demo."""

import os
import subprocess
from pathlib import Path
from signal import SIGTERM

from infra.broker.broker import SETTINGS, BrokerError, OwnBroker, end_of, wait_until
from infra.broker.child_process import start_child, stop_child
from infra.broker.free_ports import free_ports

IMAGE = "rabbitmq:4-management"
SETTINGS_IN_IMAGE = "/etc/rabbitmq/conf.d/20-replicated-log.conf"


def docker_problem(image: str) -> str | None:
    """Why Docker cannot run `image`, in a few words; None when it can. Pulls it if need be, for up to 90 s."""
    if not _docker("version", timeout_s=5):
        return "no Docker engine answers"
    if not _docker("image", "inspect", image, timeout_s=10) and not _docker("pull", "--quiet", image, timeout_s=90):
        return f"Docker neither has nor can pull {image}"
    return None


class DockerBroker(OwnBroker):
    """A rabbitmq:4-management container, published on loopback only. It ends with `stop`, or with this process."""

    def __init__(self, directory: Path) -> None:
        """Nothing runs yet. The container's log goes to `directory`."""
        self._log = directory / "broker.log"
        self._container = f"replog-broker-{os.getpid()}"
        self._amqp_port, self._management_port = free_ports(2)
        self._begun = False
        self._client: subprocess.Popen[bytes] | None = None
        super().__init__(
            amqp_url=f"amqp://guest:guest@127.0.0.1:{self._amqp_port}/",
            management_url=f"http://127.0.0.1:{self._management_port}",
            user="guest",
            password="guest",
            description=f"{IMAGE} in the Docker container {self._container}",
        )

    def start(self) -> None:
        assert not self._begun, "the container runs already"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        command = ["docker", "run", "--rm", "--name", self._container]
        command += ["--publish", f"127.0.0.1:{self._amqp_port}:5672"]
        command += ["--publish", f"127.0.0.1:{self._management_port}:15672"]
        command += ["--volume", f"{SETTINGS}:{SETTINGS_IN_IMAGE}:ro,z", IMAGE]
        self._begun = True
        try:
            with self._log.open("wb") as log:
                # Attached, the docker command hands a SIGTERM on to the container.
                self._client = client = start_child(command, output=log, death_signal=SIGTERM)
            if not wait_until(self.is_ready, while_=lambda: client.poll() is None, timeout_s=90):
                raise BrokerError(f"{IMAGE} did not come up; {self._log} ends with\n{end_of(self._log)}")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the container, by force after 3 s. On return it is gone."""
        if self._begun:
            # The engine goes on creating a container whose docker command has ended, so first let it be there.
            wait_until(self._exists, while_=lambda: not self._client or self._client.poll() is None, timeout_s=5)
            if self._client:
                stop_child(self._client, grace_s=3)
                self._client = None
            _docker("rm", "--force", "--volumes", self._container, timeout_s=20)
            self._begun = False

    def _exists(self) -> bool:
        return _docker("container", "inspect", self._container, timeout_s=5)


def _docker(*arguments: str, timeout_s: float) -> bool:
    """Whether `docker arguments` succeeds within `timeout_s`."""
    try:
        done = subprocess.run(
            ["docker", *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
