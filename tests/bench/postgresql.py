"""PostgreSQL: a table on a primary, with two synchronous standbys."""

import os
import re
import shutil
import signal
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Final, Self

from infra.broker.free_ports import free_ports
from tests.bench.children import Argument, Children, Command, output_of
from tests.bench.debian import find_program
from tests.bench.latencies import load_of
from tests.bench.load import Load, LoadError
from tests.bench.ours import BATCH, MESSAGE
from tests.bench.peer import MissingPeerError, Peer

_OWNER: Final = "postgres"
"""The user that the servers see when we are root, as whom they refuse to run; and their superuser."""
_DEATH_SIGNAL: Final = signal.SIGQUIT
"""It stops all processes of a server at once; by SIGKILL its first one only, and shared memory would remain."""
_PATIENCE_S: Final = 60.0
_CONNECTING_S: Final = 0.01
_NODES: Final = ("a", "b", "c")
_TABLE: Final = 'CREATE TABLE log ("offset" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, message text NOT NULL)'
_INSERT: Final = "INSERT INTO log (message) VALUES "
_STREAMING: Final = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'quorum'"

# Every commit is fsynced by all three. Room for WAL, and no vacuum, so that nothing else runs while it is measured.
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "600",
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "min_wal_size": "4GB",
    "wal_keep_size": "128MB",
    "checkpoint_timeout": "30min",
    "autovacuum": "off",
}
_SYNCHRONOUS: Final = {"synchronous_standby_names": "ANY 2 (b, c)"}


class PostgreSQL(Peer):
    """Node ``a`` is the primary. A batch is one INSERT of so many rows; single rows are a prepared statement."""

    name: ClassVar[str] = "PostgreSQL"
    promise: ClassVar[str] = (
        "COMMIT with synchronous_commit=on and ANY 2 of two standbys: fsynced in the WAL of all three nodes; "
        "the standbys apply it afterwards."
    )

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._nodes = Children(directory)

    @property
    def version(self) -> str:
        return output_of([_program("postgres"), "--version"], timeout_s=_PATIENCE_S).split()[2]

    def __enter__(self) -> Self:
        _program("postgres")
        _check_namespaces()
        self.directory.mkdir(parents=True)
        self._ports = dict(zip(_NODES, free_ports(len(_NODES)), strict=True))
        self._make_nodes()
        try:
            self._start("a", _SYNCHRONOUS)
            primary = f"host=127.0.0.1 port={self._ports['a']} user={_OWNER} application_name="
            for standby in ("b", "c"):
                self._start(standby, {"primary_conninfo": primary + standby})
            self._nodes.wait_until(self._is_up)
            self._sql(_TABLE)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def singles(self, clients: int, seconds: float) -> Load:
        """In whole seconds, as pgbench counts them, and up to a few more, in which it connects."""
        return self._inserted(1, f"{_INSERT} (:message);", "prepared", clients, seconds)

    def batches(self, clients: int, seconds: float) -> Load:
        """In whole seconds, as pgbench counts them, and up to a few more, in which it connects."""
        rows = ", ".join([f"('{MESSAGE}')"] * BATCH)
        return self._inserted(BATCH, f"{_INSERT} {rows};", "simple", clients, seconds)

    def _inserted(self, rows: int, statement: str, protocol: str, clients: int, seconds: float) -> Load:
        # Each run begins with an empty table, so that what the ones before have written needs no room; and with their
        # WAL files to use again, on all nodes: new ones would be written twice.
        self._sql("TRUNCATE log")
        for node in _NODES:
            self._sql("CHECKPOINT", node)
        with TemporaryDirectory(dir=self.directory) as place:
            script, log = Path(place, "script.sql"), Path(place, "transactions")
            script.write_text(statement)
            output = output_of(self._pgbench(script, log, protocol, clients, seconds), timeout_s=seconds + _PATIENCE_S)
            (written,) = log.parent.glob(f"{log.name}.*")
            latencies_s = [int(line.split()[2]) / 1e6 for line in written.read_text().splitlines()]
        rate = re.search(r"^tps = ([\d.]+) ", output, re.MULTILINE)
        if rate is None or float(rate[1]) == 0:
            raise LoadError(f"pgbench reports no transactions:\n{output}")
        load = load_of(latencies_s, seconds=len(latencies_s) / float(rate[1]), records=rows)
        held = int(self._sql("SELECT count(*) FROM log"))
        if held != load.done:
            raise LoadError(f"{load.done} rows were answered, but the table holds {held}")
        return load

    def _pgbench(self, script: Path, log: Path, protocol: str, clients: int, seconds: float) -> Command:
        """Load by ``script``, and a line for each transaction in ``log``. It ends at once when a statement fails."""
        command: list[Argument] = [_program("pgbench"), "--no-vacuum", "--file", script, "--protocol", protocol]
        # Its time runs while it connects, too, which the rate that it reports leaves out.
        time_s = ceil(seconds + clients * _CONNECTING_S)
        command += ["--define", f"message={MESSAGE}", "--client", f"{clients}", "--time", f"{time_s}"]
        command += ["--log", "--log-prefix", log, "--username", _OWNER]
        return [*command, "--host", "127.0.0.1", "--port", f"{self._ports['a']}", "postgres"]

    def _make_nodes(self) -> None:
        """One new database, and copies of it: standbys are of the same origin as their primary."""
        first, *standbys = (self.directory / name for name in _NODES)
        initdb: Command = [_program("initdb"), "-D", first, "-U", _OWNER, "--auth", "trust", "--encoding", "UTF8"]
        output_of(_without_root([*initdb, "--no-locale", "--no-sync"]), timeout_s=_PATIENCE_S)
        for standby in standbys:
            shutil.copytree(first, standby)
            (standby / "standby.signal").touch()

    def _start(self, name: str, own_settings: dict[str, str]) -> None:
        settings = {**_SETTINGS, "port": f"{self._ports[name]}", **own_settings}
        given = [word for setting, value in settings.items() for word in ("-c", f"{setting}={value}")]
        command = _without_root([_program("postgres"), "-D", self.directory / name, *given])
        self._nodes.start(name, command, death_signal=_DEATH_SIGNAL)

    def _stop(self) -> None:
        self._nodes.stop(_DEATH_SIGNAL)

    def _is_up(self) -> bool:
        """Whether both standbys take part in every commit."""
        try:
            return self._sql(_STREAMING) == "2"
        except LoadError:
            return False

    def _sql(self, statement: str, node: str = "a") -> str:
        """What the node answers. Raises LoadError."""
        command: list[Argument] = [_program("psql"), "--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]
        command += ["--host", "127.0.0.1", "--port", f"{self._ports[node]}", "--username", _OWNER]
        return output_of([*command, "--command", statement, "postgres"], timeout_s=_PATIENCE_S).strip()


def _program(name: str) -> Path:
    return find_program(name, package="postgresql", service="postgresql.service", user=_OWNER)


def _without_root(command: Command) -> Command:
    """``command``; when we are root, in a user namespace where we are PostgreSQL's own user instead.

    Outside we stay root: the data may be in a directory that nobody else may enter, and no file of it changes hands.
    """
    if os.geteuid() != 0:
        return command
    return ["unshare", "--user", f"--map-user={_OWNER}", f"--map-group={_OWNER}", *command]


def _check_namespaces() -> None:
    """Raises MissingPeerError when PostgreSQL can't be run by who we are."""
    try:
        output_of(_without_root(["true"]), timeout_s=_PATIENCE_S)
    except LoadError as error:
        raise MissingPeerError(f"PostgreSQL won't run as root, and there are no user namespaces: {error}") from error
