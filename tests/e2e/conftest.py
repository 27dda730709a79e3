"""What end-to-end tests share that run in different processes at the same time."""

import fcntl
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def fixed_ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The ports of the README's nodes (8000, 8080 and 8090) for one module at a time; others wait."""
    # Workers of pytest-xdist have directories of their own, beside each other.
    with (tmp_path_factory.getbasetemp().parent / "fixed-ports").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
