"""The rabbitmq-server program of this machine: finding it and, on Debian and Ubuntu as root, installing it."""

import contextlib
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from infra.broker.broker import BrokerError

logger = logging.getLogger(__name__)

# Packages put wrappers on the PATH that insist on root or the user rabbitmq; the programs they wrap do not.
_UNWRAPPED = "/usr/lib/rabbitmq/bin"
_POLICY = Path("/usr/sbin/policy-rc.d")
_PACKAGE_USERS = {"rabbitmq", "epmd"}


def find_program(name: str) -> Path | None:
    """The path of RabbitMQ's or Erlang's program `name`, or None."""
    found = shutil.which(name, path=os.pathsep.join([_UNWRAPPED, *os.get_exec_path(), "/usr/sbin"]))
    return Path(found) if found else None


def find_or_install() -> Path:
    """The path of rabbitmq-server. Raises BrokerError, saying what to install, when it is not to be had."""
    server = find_program("rabbitmq-server")
    if server is None and os.geteuid() == 0 and Path("/etc/debian_version").exists() and shutil.which("apt-get"):
        _install()
        server = find_program("rabbitmq-server")
    if server is None:
        raise BrokerError("no RabbitMQ: start a Docker engine, or install rabbitmq-server")
    return server


def _install() -> None:
    """Install Debian's package without its services, which would listen on all interfaces, now and at every boot."""
    logger.info("installing rabbitmq-server with apt-get ...")
    services = ["rabbitmq-server.service"]
    if find_program("epmd") is None:  # otherwise Erlang is here for somebody else, and stays as it is
        services += ["epmd.service", "epmd.socket"]
    running_before = _service_processes()
    with _no_service_starts():
        _run("apt-get", "update", "-qq")
        _run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "rabbitmq-server")
    if shutil.which("systemctl"):
        _run("systemctl", "disable", *services)
    else:
        _run("update-rc.d", "rabbitmq-server", "disable")
    if started := _service_processes() - running_before:
        raise BrokerError(f"the package has started its own broker (processes {sorted(started)}): stop and disable it")


@contextlib.contextmanager
def _no_service_starts() -> Iterator[None]:
    """Have Debian's maintainer scripts start no service meanwhile; a policy that is already there is left alone."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def _service_processes() -> set[int]:
    """The processes of the package's own users."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, KeyError):  # it has ended, or its user has no name here
            if process.owner() in _PACKAGE_USERS:
                found.add(int(process.name))
    return found


def _run(*command: str) -> None:
    """Run `command` quietly. Raises BrokerError with the end of its output when it fails."""
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    done = subprocess.run(
        [*environment, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BrokerError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-500:]}")
