"""On what the benchmark runs."""

import os
import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path
from typing import Final

_PACKAGES: Final = ("aiohttp", "aio-pika", "uvloop")
_IN_MEMORY: Final = ("tmpfs", "ramfs")


def described(data: Path) -> dict[str, str]:
    """What there is to say about this machine, and the disk that ``data`` is on."""
    return {
        "processors": f"{os.cpu_count()} x {_field('/proc/cpuinfo', 'model name')}",
        "memory": f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.1f} GiB",
        "system": f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release()}",
        "file system of the data": file_system(data),
        "load before": f"{os.getloadavg()[0]:.2f} (mean over a minute; more than about 0.2 disturbs)",
        "Python": f"{platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        + ", ".join(f"{package} {version(package)}" for package in _PACKAGES),
    }


def file_system(directory: Path) -> str:
    """Its type, by the longest mount point that the directory is below."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    here = directory.resolve()
    above = [(point, kind) for point, kind in mounts if here.is_relative_to(point)]
    # Of several on one point the last covers the others.
    return max(enumerate(above), key=lambda one: (len(one[1][0]), one[0]))[1][1]


def is_in_memory(directory: Path) -> bool:
    """Whether an fsync there costs nothing."""
    return file_system(directory) in _IN_MEMORY


def _field(file: str, name: str) -> str:
    lines = (line.partition(":") for line in Path(file).read_text().splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "unknown")
