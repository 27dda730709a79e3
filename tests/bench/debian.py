"""Programs that come as Debian packages: found on this machine, or installed where we may."""

import os
import shutil
from pathlib import Path

from infra.broker.debian_package import PackageError, can_install, install
from tests.bench.peer import MissingPeerError

# What Debian has on the PATH of these are wrappers that look for a cluster of Debian's own.
_POSTGRESQL = Path("/usr/lib/postgresql")


def find_program(name: str, *, package: str, service: str | None = None, user: str | None = None) -> Path:
    """The path of the program ``name`` of Debian's ``package``, which is installed when it is missing and we are root.

    ``service`` is the systemd unit that the package would start, and ``user`` whom that runs as: it is kept from
    starting. Raises MissingPeerError.
    """
    found = _find(name)
    if found is None and can_install():
        try:
            install(package, services=[service] if service else [], users=[user] if user else [])
        except PackageError as error:
            raise MissingPeerError(f"no {name}: {error}") from error
        found = _find(name)
    if found is None:
        raise MissingPeerError(f"no {name}: install Debian's package {package}")
    return found


def _find(name: str) -> Path | None:
    versions = sorted(_POSTGRESQL.glob("*/bin"), key=lambda programs: float(programs.parent.name), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([*map(str, versions), *os.get_exec_path(), "/usr/sbin"]))
    return Path(found) if found else None
