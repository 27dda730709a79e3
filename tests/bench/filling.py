"""Fills a log over HTTP, as a program that loads data does: in batches, on a few connections."""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

from tests.bench.load import LoadError

BATCH_RECORDS: Final = 1000
MESSAGE_BYTES: Final = 100
_CONNECTIONS: Final = 4
_PATIENCE_S: Final = 120.0


def fill(url: str, records: int, *, w: int) -> None:
    """Append ``records`` messages of MESSAGE_BYTES at the master at ``url``; on return all are on ``w`` nodes.

    Raises LoadError.
    """
    whole, rest = divmod(records, BATCH_RECORDS)
    sizes = [BATCH_RECORDS] * whole + [rest] * (rest > 0)
    with ThreadPoolExecutor(_CONNECTIONS, "fill") as connections:
        filling = [connections.submit(_append, url, w, sizes[n::_CONNECTIONS]) for n in range(_CONNECTIONS)]
    for one in filling:
        one.result()


def append_one(url: str, message: str, *, w: int) -> int:
    """Append one message at the master at ``url``, on ``w`` nodes on return; its offset. Raises LoadError."""
    with closing(_connection(url)) as connection:
        offset: int = _post(connection, f"/messages?w={w}", "text/plain", message.encode())["offset"]
        return offset


def _append(url: str, w: int, sizes: Iterable[int]) -> None:
    line = json.dumps("x" * MESSAGE_BYTES).encode() + b"\n"
    with closing(_connection(url)) as connection:
        for size in sizes:
            answer = _post(connection, f"/messages?w={w}", "application/x-ndjson", line * size)
            if answer["count"] != size:
                raise LoadError(f"{size} messages were sent, and {answer} was answered")


def _connection(url: str) -> HTTPConnection:
    return HTTPConnection(urlsplit(url).netloc, timeout=_PATIENCE_S)


def _post(connection: HTTPConnection, path: str, content_type: str, body: bytes) -> dict[str, Any]:
    """What a 201 says. Raises LoadError for everything else."""
    try:
        connection.request("POST", path, body, {"Content-Type": content_type})
        response = connection.getresponse()
        answer = response.read()
    except (OSError, HTTPException) as error:
        raise LoadError(f"POST {path} was not answered: {error!r}") from error
    if response.status != 201:
        raise LoadError(f"POST {path} was answered with {response.status}: {answer[:500]!r}")
    outcome: dict[str, Any] = json.loads(answer)
    return outcome
