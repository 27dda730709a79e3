"""The limit of a server on aiohttp and uvloop: one that appends nothing."""

import json
import socket
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar, Final, Self

from infra.broker.free_ports import free_ports
from tests.bench.children import Children
from tests.bench.limits import empty_server
from tests.bench.load import Load
from tests.bench.ours import ALL, MESSAGE
from tests.bench.wrk import POST, wrk

_LINE: Final = json.dumps({"message": MESSAGE, "w": ALL})


class EmptyApp:
    """A context in which an aiohttp application runs that answers appends as the master does, and does no more.

    One process, on loopback. All methods block.
    """

    name: ClassVar[str] = "empty aiohttp application"

    def __init__(self, directory: Path) -> None:
        """``directory`` is for its output; it is made when the context is entered."""
        self.directory = directory
        self.port = 0
        self._server = Children(directory)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def version(self) -> str:
        return ", ".join(f"{library} {version(library)}" for library in ("aiohttp", "uvloop"))

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True)
        (self.port,) = free_ports(1)
        with self._server.starting():
            self._server.start("empty_server", [sys.executable, "-P", empty_server.__file__, f"{self.port}"])
            self._server.wait_until(self._takes_connections)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def singles(self, clients: int, seconds: float) -> Load:
        """``clients`` at once POST one message of 100 bytes after another, w=3. Raises LoadError."""
        arguments = ("application/json", _LINE, "1")
        return wrk(f"{self.url}/messages", POST, clients=clients, seconds=seconds, arguments=arguments)

    def _takes_connections(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False
