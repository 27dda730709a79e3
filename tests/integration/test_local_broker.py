"""The private broker can be reached from this machine only, comes back where it was, and leaves nothing behind."""

import signal
import subprocess
import sys
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest

from infra.broker.broker import wait_until
from infra.broker.get_json import get_json
from infra.broker.local import LocalBroker

pytestmark = pytest.mark.slow


def test_it_listens_on_loopback_only_and_leaves_no_process_when_stopped(tmp_path: Path) -> None:
    with LocalBroker(tmp_path):
        addresses = listening_addresses(processes_of(tmp_path))

    assert len(addresses) >= 4, "AMQP, management, distribution and epmd each have a socket"
    assert all(address.is_loopback for address in addresses), addresses
    assert_no_processes(tmp_path)


def test_it_comes_back_at_the_same_addresses_after_a_restart_and_after_a_kill(tmp_path: Path) -> None:
    with LocalBroker(tmp_path) as broker:
        broker.restart()
        assert broker.is_ready()
        broker.kill()
        assert not broker.is_ready()
        broker.start()
        assert broker.is_ready()


def test_one_beside_another_joins_its_cluster_on_loopback_only(tmp_path: Path) -> None:
    home = tmp_path / "a"
    with LocalBroker(home, name="a") as first, LocalBroker(tmp_path / "b", name="b", beside=first) as second:
        nodes = get_json(f"{second.management_url}/api/nodes", second.management_auth)
        assert {node["name"]: node["running"] for node in nodes} == {"a@localhost": True, "b@localhost": True}
        addresses = listening_addresses(processes_of(home))

    assert len(addresses) >= 7, "AMQP, management and distribution of two, and their epmd"
    assert all(address.is_loopback for address in addresses), addresses
    assert_no_processes(home)


def test_no_process_is_left_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from infra.broker.local import LocalBroker\n"
        "with LocalBroker(Path(sys.argv[1])): print('up', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"up\n"
        assert processes_of(tmp_path)
        parent.send_signal(signal.SIGKILL)

    assert_no_processes(tmp_path)


def assert_no_processes(directory: Path) -> None:
    # Erlang's helpers end by themselves as soon as they see that their machine is gone.
    assert wait_until(lambda: not processes_of(directory), while_=lambda: True, timeout_s=10), processes_of(directory)


def processes_of(directory: Path) -> set[int]:
    """The processes, zombies apart, that have the broker in `directory` for their home."""
    found = set()
    home = f"HOME={directory}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile, or somebody else's
            if home in (process / "environ").read_bytes().split(b"\0"):
                found.add(int(process.name))
    return found


def listening_addresses(processes: set[int]) -> list[IPv4Address | IPv6Address]:
    """The addresses of all TCP sockets on which `processes` listen."""
    inodes = set()
    for process in processes:
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                inodes.add(str(descriptor.readlink()))
    addresses = []
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:]:
            local, state, inode = (line.split()[column] for column in (1, 3, 9))
            if state == "0A" and f"socket:[{inode}]" in inodes:
                addresses.append(address_of(local))
    return addresses


def address_of(field: str) -> IPv4Address | IPv6Address:
    """The address in a field of /proc/net/tcp, which has it in words of 32 bits, each in the machine's byte order."""
    words = bytes.fromhex(field.partition(":")[0])
    in_network_order = b"".join(
        int.from_bytes(words[start : start + 4], sys.byteorder).to_bytes(4) for start in range(0, len(words), 4)
    )
    return ip_address(in_network_order)
