"""etcd: three nodes, through the HTTP gateway of the one that leads."""

import base64
import json
import secrets
from http.client import HTTPException
from pathlib import Path
from typing import Any, ClassVar, Final, Self
from urllib.request import ProxyHandler, Request, build_opener

from infra.broker.free_ports import free_ports
from tests.bench.children import Children, output_of
from tests.bench.debian import find_program
from tests.bench.load import Load, LoadError
from tests.bench.ours import MESSAGE
from tests.bench.peer import Peer
from tests.bench.wrk import wrk

_PUT: Final = Path(__file__).parent / "put.lua"
_PATIENCE_S: Final = 30.0
_NODES: Final = ("a", "b", "c")

# A busy machine must not cost a node its leadership, nor a long benchmark meet the quota of 2 GB.
_SETTINGS: Final = {
    "initial-cluster-state": "new",
    "heartbeat-interval": "200",
    "election-timeout": "2000",
    "quota-backend-bytes": f"{8 << 30}",
    "log-level": "warn",
    "logger": "zap",
}

# A proxy named in the environment knows nothing of this machine's loopback.
_direct = build_opener(ProxyHandler({}))


class Etcd(Peer):
    """Each message is the value of a key of its own; there is no request for many."""

    name: ClassVar[str] = "etcd"
    promise: ClassVar[str] = (
        "A put: fsynced by a majority, two of the three nodes, in Raft's log; the third follows. "
        "There is no waiting for all three."
    )
    has_batches: ClassVar[bool] = False

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._nodes = Children(directory)

    @property
    def version(self) -> str:
        first_line = output_of([_program(), "--version"], timeout_s=_PATIENCE_S).splitlines()[0]
        return first_line.removeprefix("etcd Version: ")

    def __enter__(self) -> Self:
        _program()
        self.directory.mkdir(parents=True)
        urls = [f"http://127.0.0.1:{port}" for port in free_ports(2 * len(_NODES))]
        self._urls = urls[: len(_NODES)]
        peer_urls = dict(zip(_NODES, urls[len(_NODES) :], strict=True))
        cluster = ",".join(f"{name}={url}" for name, url in peer_urls.items())
        with self._nodes.starting():
            for name, url in zip(_NODES, self._urls, strict=True):
                self._start(name, url, peer_urls[name], cluster)
            self._nodes.wait_until(self._is_up)
        return self

    def __exit__(self, *_: object) -> None:
        self._nodes.stop()

    def singles(self, clients: int, seconds: float) -> Load:
        prefix = secrets.token_hex(8)
        message = base64.b64encode(MESSAGE.encode()).decode()
        load = wrk(self._leading(), _PUT, clients=clients, seconds=seconds, arguments=(prefix, message))
        held = self._count(prefix)
        # The last requests of all clients are written, and not counted.
        if not load.done <= held <= load.done + clients:
            raise LoadError(f"{load.done} messages were answered, but etcd holds {held}")
        return load

    def _start(self, name: str, url: str, peer_url: str, cluster: str) -> None:
        settings = {
            **_SETTINGS,
            "name": name,
            "data-dir": str(self.directory / name),
            "listen-client-urls": url,
            "advertise-client-urls": url,
            "listen-peer-urls": peer_url,
            "initial-advertise-peer-urls": peer_url,
            "initial-cluster": cluster,
        }
        self._nodes.start(name, [_program(), *(f"--{setting}={value}" for setting, value in settings.items())])

    def _is_up(self) -> bool:
        """Whether all nodes answer, and say that the same one leads."""
        try:
            leaders = {_post(url, "/v3/maintenance/status", {}).get("leader") for url in self._urls}
        except LoadError:
            return False
        return len(leaders) == 1 and None not in leaders

    def _leading(self) -> str:
        """The URL of the node that leads: the others would only hand on what they get."""
        for url in self._urls:
            status = _post(url, "/v3/maintenance/status", {})
            if status["leader"] == status["header"]["member_id"]:
                return url
        raise LoadError("none of etcd's nodes leads")

    def _count(self, prefix: str) -> int:
        """How many keys begin with ``prefix``, which is in base64; a majority of the nodes agrees."""
        first = base64.b64decode(prefix)
        after = (int.from_bytes(first) + 1).to_bytes(len(first))
        words = {"key": prefix, "range_end": base64.b64encode(after).decode(), "count_only": True}
        return int(_post(self._leading(), "/v3/kv/range", words)["count"])


def _program() -> Path:
    return find_program("etcd", package="etcd-server", service="etcd.service", user="etcd")


def _post(url: str, path: str, body: object) -> Any:
    """The answer. Raises LoadError when there is none of 2xx."""
    request = Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with _direct.open(request, timeout=_PATIENCE_S) as answer:
            return json.load(answer)
    except (OSError, HTTPException, ValueError) as error:
        raise LoadError(f"etcd's {path}: {error}") from error
