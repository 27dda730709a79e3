"""Redis: a stream on a primary, with two replicas."""

import json
import sys
from pathlib import Path
from typing import ClassVar, Final, Self

from infra.broker.free_ports import free_ports
from tests.bench import redis_load
from tests.bench.children import Children, Command, output_of
from tests.bench.debian import find_program
from tests.bench.load import Load, LoadError
from tests.bench.ours import BATCH, MESSAGE
from tests.bench.peer import Peer

_ROOT: Final = Path(__file__).parents[2]
_STREAM: Final = "log"
_PATIENCE_S: Final = 60.0
_NODES: Final = ("a", "b", "c")

# On each node every write is in the append-only file and fsynced before it is answered. What would disturb while it
# is measured is off: snapshots, rewriting that file, and cutting off a replica that falls behind under load.
_SETTINGS: Final = {
    "bind": "127.0.0.1",
    "appendonly": "yes",
    "appendfsync": "always",
    "save": "",
    "auto-aof-rewrite-percentage": "0",
    "repl-diskless-sync-delay": "0",
    "client-output-buffer-limit": "replica 0 0 0",
}


class Redis(Peer):
    """Node ``a`` is the primary. A batch is a pipeline of one XADD for each message and one WAIT."""

    name: ClassVar[str] = "Redis"
    promise: ClassVar[str] = (
        "XADD, then WAIT 2: fsynced by the primary (appendfsync always) and received by both replicas. They fsync "
        "always, too, but WAIT does not promise that they have (Redis 7.0 has no WAITAOF)."
    )

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._nodes = Children(directory)

    @property
    def version(self) -> str:
        words = output_of([_server(), "--version"], timeout_s=_PATIENCE_S).split()
        return next(word for word in words if word.startswith("v=")).removeprefix("v=")

    def __enter__(self) -> Self:
        _server()
        self.directory.mkdir(parents=True)
        self._ports = dict(zip(_NODES, free_ports(len(_NODES)), strict=True))
        with self._nodes.starting():
            self._start("a")
            self._nodes.wait_until(lambda: self._tries("a", "PING") == "PONG")
            for replica in ("b", "c"):
                self._start(replica, "--replicaof", "127.0.0.1", f"{self._ports['a']}")
            self._nodes.wait_until(lambda: self._tries("a", "WAIT", "2", "100") == "2")
        return self

    def __exit__(self, *_: object) -> None:
        self._nodes.stop()

    def singles(self, clients: int, seconds: float) -> Load:
        return self._added(1, clients, seconds)

    def batches(self, clients: int, seconds: float) -> Load:
        return self._added(BATCH, clients, seconds)

    def _added(self, messages: int, clients: int, seconds: float) -> Load:
        # Each run begins with an empty stream: what the ones before have written would fill the memory.
        self._asks("a", "DEL", _STREAM)
        arguments = (self._ports["a"], _STREAM, MESSAGE, messages, clients, seconds)
        command = ["env", f"--chdir={_ROOT}", sys.executable, "-m", redis_load.__name__, *map(str, arguments)]
        load = Load(**json.loads(output_of(command, timeout_s=seconds + _PATIENCE_S)))
        lengths = [int(self._asks(node, "XLEN", _STREAM)) for node in _NODES]
        if lengths != [load.done] * len(_NODES):
            raise LoadError(f"{load.done} messages were answered, but the streams hold {lengths}")
        return load

    def _start(self, name: str, *arguments: str) -> None:
        data = self.directory / name
        data.mkdir()
        settings = {**_SETTINGS, "dir": str(data), "port": f"{self._ports[name]}"}
        given = [word for setting, value in settings.items() for word in (f"--{setting}", value)]
        self._nodes.start(name, [_server(), *given, *arguments])

    def _asks(self, name: str, *words: str) -> str:
        """The answer of a node. Raises LoadError when that is an error."""
        program = find_program("redis-cli", package="redis-tools")
        command: Command = [program, "-e", "-p", f"{self._ports[name]}", *words]
        return output_of(command, timeout_s=_PATIENCE_S).strip()

    def _tries(self, name: str, *words: str) -> str | None:
        try:
            return self._asks(name, *words)
        except LoadError:
            return None


def _server() -> Path:
    return find_program("redis-server", package="redis-server", service="redis-server.service", user="redis")
