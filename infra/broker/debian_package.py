"""Installing a package on Debian and Ubuntu, without the services it brings."""

import contextlib
import fcntl
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

logger = logging.getLogger(__name__)

_POLICY = Path("/usr/sbin/policy-rc.d")
_DPKG = Path("/var/lib/dpkg/status")
"""Debian's list of what is installed. Locking it this way disturbs neither dpkg nor apt-get, which lock other files."""


class PackageError(RuntimeError):
    """The package can't be installed, or has started something all the same. The text is for the user."""


def can_install() -> bool:
    """Whether this is Debian or a child of it, and we are root."""
    return os.geteuid() == 0 and Path("/etc/debian_version").exists() and shutil.which("apt-get") is not None


def install(package: str, *, services: Sequence[str] = (), users: Sequence[str] = ()) -> None:
    """Install `package` with its `services` disabled: they would listen on all interfaces, now and at every boot.

    `services` are systemd's units; `users` are those that its services run as. Raises PackageError.
    """
    logger.info("installing %s with apt-get ...", package)
    running_before = _processes_of(users)
    with _alone(), _no_service_starts():
        _run("apt-get", "update", "-qq")
        _run("apt-get", "install", "-y", "-qq", "--no-install-recommends", package)
        _disable(services)
    if started := _processes_of(users) - running_before:
        raise PackageError(f"{package} has started a service (processes {sorted(started)}): stop and disable it")


def _disable(services: Sequence[str]) -> None:
    if not services:
        return
    if shutil.which("systemctl"):
        _run("systemctl", "disable", *services)
        return
    for script in (service.removesuffix(".service") for service in services):
        if Path("/etc/init.d", script).exists():
            _run("update-rc.d", script, "disable")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other process installs by this function: apt-get refuses to run twice, and the policy is one."""
    with _DPKG.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


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


def _processes_of(users: Sequence[str]) -> set[int]:
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, KeyError):  # it has ended, or its user has no name here
            if process.owner() in users:
                found.add(int(process.name))
    return found


def _run(*command: str) -> None:
    """Run `command` quietly. Raises PackageError with the end of its output when it fails."""
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    done = subprocess.run(
        [*environment, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise PackageError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-500:]}")
