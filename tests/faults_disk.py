"""Disks that fill up, and system calls that fail."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from infra.broker.debian_package import can_install, install
from tests.cluster import Node


class SmallDisk:
    """A tmpfs of its own, that can be made larger."""

    def __init__(self, at: Path, mebibytes: int) -> None:
        self._at = at
        self.size_mebibytes = mebibytes
        """As it was mounted."""

    def resize(self, mebibytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={mebibytes}m", self._at], check=True)

    def fill(self) -> None:
        """Leave no room at all."""
        with (self._at / "ballast").open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    def empty(self) -> None:
        """Give back what :meth:`fill` took."""
        (self._at / "ballast").unlink()

    def used_mebibytes(self) -> int:
        """Rounded up."""
        return -(-shutil.disk_usage(self._at).used >> 20)


@contextmanager
def small_disk(at: Path, mebibytes: int) -> Iterator[SmallDisk]:
    """Mount one; skip the test where that is not permitted."""
    at.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", at], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(at, mebibytes)
    finally:
        subprocess.run(["umount", "--lazy", at], check=True)


SYNC = ("fdatasync", "fsync")
WRITE = ("pwrite64",)


def failing(node: Node, file: str, calls: Sequence[str]) -> AbstractAsyncContextManager[None]:
    """Meanwhile these system calls of the node's process fail with EIO on that file of its data directory."""
    return _injecting("error=EIO", node, file, calls)


def slow(node: Node, file: str, calls: Sequence[str]) -> AbstractAsyncContextManager[None]:
    """Meanwhile these system calls of the node's process take a second on that file of its data directory."""
    return _injecting("delay_enter=1000000", node, file, calls)


@asynccontextmanager
async def _injecting(what: str, node: Node, file: str, calls: Sequence[str]) -> AsyncIterator[None]:
    assert node.process is not None
    command = ["strace", "-f", "-p", str(node.process.pid), "-o", os.devnull, "-P", str(node.data / file)]
    command += ["-e", f"trace={','.join(calls)}", "-e", f"inject={','.join(calls)}:{what}"]
    install_strace()
    strace = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert strace.stderr is not None
    try:
        said = await strace.stderr.readline()
        assert b"attached" in said, said
        yield
    finally:
        if strace.returncode is None:
            strace.terminate()
        await strace.communicate()


def install_strace() -> None:
    """Skip the test where there is no strace, and none can be installed."""
    if shutil.which("strace") is None and can_install():
        # Who may install it has no reason to skip: what goes wrong here fails the test.
        install("strace")
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
