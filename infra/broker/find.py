"""Finding a RabbitMQ to run on: the one that is given, else one in Docker, else a child process."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from infra.broker.broker import Broker, BrokerError
from infra.broker.docker import IMAGE, DockerBroker, docker_problem
from infra.broker.local import LocalBroker

logger = logging.getLogger(__name__)


@contextmanager
def find_broker(directory: Path, *, amqp_url: str | None = None, choice: str | None = None) -> Iterator[Broker]:
    """A RabbitMQ that takes connections, stopped on leaving the context if it was started here.

    The one at `amqp_url`, unseen; else rabbitmq:4-management in Docker; else rabbitmq-server as a child process,
    installed if need be (Debian and Ubuntu, as root). `choice` "docker" or "local" allows one of the last two only.
    `directory` is for the broker's files. Raises BrokerError, saying what to install.
    """
    if choice not in (None, "", "docker", "local"):
        raise BrokerError(f"BROKER is docker or local, not {choice!r}")
    if amqp_url and amqp_url.strip():
        yield given_broker(amqp_url)
        return
    problem = "BROKER=local" if choice == "local" else docker_problem(IMAGE)
    if problem and choice == "docker":
        raise BrokerError(problem)
    if problem:
        logger.info("not in Docker: %s", problem)
    with LocalBroker(directory) if problem else DockerBroker(directory) as broker:
        yield broker


def given_broker(amqp_url: str) -> Broker:
    """The broker at `amqp_url`; its management API is taken to be on the same host, at the usual port and login.

    That of the first, where there are several, separated by blanks.
    """
    url = urlsplit(amqp_url.split(maxsplit=1)[0])
    return Broker(
        amqp_url=amqp_url,
        management_url=f"http://{url.hostname}:15672",
        user=unquote(url.username or "guest"),
        password=unquote(url.password or "guest"),
        description="the one at REPLOG_AMQP_URL",
    )
