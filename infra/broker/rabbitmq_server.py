"""The rabbitmq-server program of this machine: finding it and, on Debian and Ubuntu as root, installing it."""

import os
import shutil
from pathlib import Path

from infra.broker.broker import BrokerError
from infra.broker.debian_package import PackageError, can_install, install

# Packages put wrappers on the PATH that insist on root or the user rabbitmq; the programs they wrap do not.
_UNWRAPPED = "/usr/lib/rabbitmq/bin"


def find_program(name: str) -> Path | None:
    """The path of RabbitMQ's or Erlang's program `name`, or None."""
    found = shutil.which(name, path=os.pathsep.join([_UNWRAPPED, *os.get_exec_path(), "/usr/sbin"]))
    return Path(found) if found else None


def find_or_install() -> Path:
    """The path of rabbitmq-server. Raises BrokerError, saying what to install, when it is not to be had."""
    server = find_program("rabbitmq-server")
    if server is None and can_install():
        _install()
        server = find_program("rabbitmq-server")
    if server is None:
        raise BrokerError("no RabbitMQ: start a Docker engine, or install rabbitmq-server")
    return server


def _install() -> None:
    services = ["rabbitmq-server.service"]
    if find_program("epmd") is None:  # otherwise Erlang was here before, and stays as it is
        services += ["epmd.service", "epmd.socket"]
    try:
        install("rabbitmq-server", services=services, users=["rabbitmq", "epmd"])
    except PackageError as error:
        raise BrokerError(str(error)) from error
