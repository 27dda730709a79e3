"""Light load on a Redis, in a process of its own: appends to a stream, and waits for its replicas.

Arguments: port, stream, message, messages in one request, clients, seconds. One line of JSON comes out, the fields of a
Load; or why an answer was not as it should be, with exit code 1.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict
from typing import Final, cast

import uvloop

from tests.bench.latencies import load_of
from tests.bench.load import Load, LoadError

_LAST_ANSWER_S: Final = 30.0
_REPLICAS: Final = 2


class Requests(asyncio.Protocol):
    """One connection: the same request again and again, each sent when the one before is answered.

    ``ended`` is done at the first answer after ``deadline``, of time.perf_counter, or with what went wrong.
    """

    def __init__(self, request: bytes, messages: int, deadline: float) -> None:
        self.latencies_s: list[float] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._messages = messages
        self._deadline = deadline
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        answer = self._answer = self._answer + data if self._answer else data
        # Only WAIT, which is last, is answered with a number; an error is seen as soon as it ends what has come so far.
        if not answer.endswith(b"\r\n") or answer[answer.rfind(b"\n", 0, -1) + 1] not in b":-":
            return
        now = time.perf_counter()
        if not is_sound(answer, self._messages):
            self._end(LoadError(first_wrong(answer)))
            return
        self.latencies_s.append(now - self._sent)
        if now < self._deadline:
            self._send()
        else:
            self._end(None)

    def connection_lost(self, _: Exception | None) -> None:
        self._end(LoadError("the connection was lost"))

    def _send(self) -> None:
        self._answer = b""
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def _end(self, error: LoadError | None) -> None:
        if self.ended.done():
            return
        if error:
            self.ended.set_exception(error)
        else:
            self.ended.set_result(None)
        self._transport.close()


def request_of(stream: str, message: str, messages: int) -> bytes:
    """XADD for each message, then WAIT until all replicas have them, however long."""
    return encoded("XADD", stream, "*", "message", message) * messages + encoded("WAIT", f"{_REPLICAS}", "0")


def encoded(*words: str) -> bytes:
    """A command in Redis's protocol, of ASCII words."""
    return "".join([f"*{len(words)}\r\n", *(f"${len(word)}\r\n{word}\r\n" for word in words)]).encode()


def is_sound(answer: bytes, messages: int) -> bool:
    r"""Whether it is an id (``$15\r\n1700000000000-0\r\n``) for each message, then ``:2\r\n``."""
    return (
        answer.count(b"$") == messages
        and answer.count(b"-") == messages
        and answer.count(b"\n") == 2 * messages + 1
        and answer.endswith(b"\r\n:%d\r\n" % _REPLICAS)
    )


def first_wrong(answer: bytes) -> str:
    """The first error in it, or else its last line."""
    lines = answer.decode(errors="replace").splitlines()
    return next((line for line in lines if line.startswith("-")), lines[-1])


async def measure(port: int, request: bytes, messages: int, clients: int, seconds: float) -> Load:
    """Load of all clients at once. Raises LoadError when an answer is not ids and then the number of replicas."""
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    connections = []
    for _ in range(clients):
        _, connection = await loop.create_connection(
            lambda: Requests(request, messages, began + seconds), "127.0.0.1", port
        )
        connections.append(connection)
    try:
        async with asyncio.timeout(seconds + _LAST_ANSWER_S):
            for connection in connections:
                await connection.ended
    except TimeoutError as error:
        raise LoadError(f"no answer within {_LAST_ANSWER_S:.0f} s") from error
    took_s = time.perf_counter() - began
    latencies_s = [latency for connection in connections for latency in connection.latencies_s]
    return load_of(latencies_s, seconds=took_s, records=messages)


def main() -> None:
    port, stream, message, messages, clients, seconds = sys.argv[1:]
    request = request_of(stream, message, int(messages))
    try:
        load = uvloop.run(measure(int(port), request, int(messages), int(clients), float(seconds)))
    except (OSError, LoadError) as error:
        sys.exit(str(error))
    print(json.dumps(asdict(load)))


if __name__ == "__main__":
    main()
