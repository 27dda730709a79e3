"""Each peer of the benchmark comes up, takes load whose every answer is right, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from infra.broker.broker import wait_until
from tests.bench.etcd import Etcd
from tests.bench.load import LoadError
from tests.bench.ours import BATCH
from tests.bench.peer import MissingPeerError, Peer
from tests.bench.postgresql import PostgreSQL
from tests.bench.redis import Redis
from tests.bench.redis_load import is_sound

pytestmark = pytest.mark.slow

PEERS = pytest.mark.parametrize("peer", [PostgreSQL, Redis, Etcd], ids=lambda peer: peer.name)
SECONDS = 0.3
ROOT = Path(__file__).parents[2]

# What a test runs in a process of its own, to kill it. It is told the peer's module and class, and a directory.
PARENT = (
    "import importlib, sys, time; from pathlib import Path; from tests.bench.peer import MissingPeerError\n"
    "peer = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])\n"
    "try:\n"
    "    with peer(Path(sys.argv[3])): print('up', flush=True); time.sleep(600)\n"
    "except MissingPeerError as missing: print('missing:', missing)"
)


@PEERS
def test_a_peer_takes_load_and_leaves_no_process(peer: type[Peer], tmp_path: Path) -> None:
    directory = tmp_path / "made" / "by the peer"
    with entered(peer, directory) as running:
        assert len(processes_in(directory)) >= 3
        assert running.version[0].isdecimal()
        single = running.singles(4, SECONDS)
        assert 0 < single.p50_s <= single.p99_s
        assert single.done > 0
        if running.has_batches:
            many = running.batches(2, SECONDS)
            assert many.done >= BATCH
            assert many.done % BATCH == 0

    assert processes_in(directory) == set()


@PEERS
def test_no_process_is_left_when_the_benchmark_is_killed(peer: type[Peer], tmp_path: Path) -> None:
    directory = tmp_path / "peer"
    command = [sys.executable, "-c", PARENT, peer.__module__, peer.__name__, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout
        said = parent.stdout.readline().decode()
        if said.startswith("missing: "):
            pytest.skip(said)
        assert said == "up\n"
        assert len(processes_in(directory)) >= 3
        parent.send_signal(signal.SIGKILL)

    assert wait_until(lambda: not processes_in(directory), while_=lambda: True, timeout_s=10), processes_in(directory)


@PEERS
def test_a_peer_whose_nodes_are_gone_measures_nothing(peer: type[Peer], tmp_path: Path) -> None:
    with entered(peer, tmp_path / "peer") as running:
        for process in processes_in(tmp_path):
            with suppress(ProcessLookupError):  # some end with another
                os.kill(process, signal.SIGKILL)
        with pytest.raises(LoadError):
            running.singles(4, SECONDS)


def test_an_answer_of_redis_is_an_id_for_each_message_and_two_replicas() -> None:
    ids = b"$15\r\n1700000000000-0\r\n$16\r\n1700000000000-10\r\n"

    assert is_sound(ids + b":2\r\n", 2)
    assert not is_sound(ids + b":1\r\n", 2), "a replica has not got them"
    assert not is_sound(ids + b":2\r\n", 3), "a message is missing"
    assert not is_sound(b"$15\r\n1700000000000-0\r\n-OOM command not allowed\r\n:2\r\n", 2)


@contextmanager
def entered(peer: type[Peer], directory: Path) -> Iterator[Peer]:
    """The peer, running; the test is skipped where a program of it is missing."""
    with ExitStack() as until_left:
        try:
            running = until_left.enter_context(peer(directory))
        except MissingPeerError as error:
            pytest.skip(str(error))
        yield running


def processes_in(directory: Path) -> set[int]:
    """The processes that work in ``directory`` or below, or were told of it, and have not ended."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile, or somebody else's
            told = (process / "cmdline").read_bytes()
            if os.fsencode(directory) in told or (process / "cwd").readlink().is_relative_to(directory):
                found.add(int(process.name))
    return found
