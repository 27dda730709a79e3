"""A node's HTTP server without a node, on a thread of its own, and raw sockets to talk to it."""

import asyncio
import fcntl
import json
import re
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import uvloop
from aiohttp import web

from infra.broker.free_ports import free_ports
from infra.http.bodies import read_text
from infra.http.direct import DIRECT, DirectHandler, Reply
from infra.http.head import Headers
from infra.http.limits import Limits
from infra.http.serving import application, serving
from tests.cluster import PATIENCE_S

HOST: Final = b"Host: node\r\n"
GET: Final = b"GET /text HTTP/1.1\r\n" + HOST + b"\r\n"
POST: Final = b"POST /text HTTP/1.1\r\n" + HOST
DIRECT_POST: Final = b"POST /direct HTTP/1.1\r\n" + HOST
LONG_S: Final = 1000.0
STILL_S: Final = 0.5
LARGE_BYTES: Final = 256 << 20
LARGE_AT_ONCE_BYTES: Final = 32 << 20

Answer = tuple[int, Any]
"""A status and a body, which is a problem's object, or else a text."""


@dataclass
class Served:
    """A server on a thread and a loop of its own, and what its handlers note."""

    port: int
    written: int = 0
    routed: int = 0
    """Heads of requests that were parsed, for a direct handler."""
    ended: threading.Event = field(default_factory=threading.Event)
    replies: list[Reply] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop = field(default_factory=uvloop.new_event_loop)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)

    def accepts(self) -> bool:
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def has_read(self, client: socket.socket) -> bool:
        """Whether it has read all that ``client`` has sent: by the system's table of connections, nothing waits."""
        ports = [self.port, client.getsockname()[1]]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, _, queues, *_ = line.split()
            if [int(address.split(":")[1], 16) for address in (local, remote)] == ports:
                return queues.endswith(":00000000")
        raise AssertionError("no such connection")

    def send_whole(self, client: socket.socket, data: bytes) -> None:
        """Send it in such a way that the server reads all of it at once: it stands still until all is there."""
        stands, goes_on = threading.Event(), threading.Event()

        def stand_still() -> None:
            stands.set()
            goes_on.wait(PATIENCE_S)

        self.loop.call_soon_threadsafe(stand_still)
        assert stands.wait(PATIENCE_S)
        try:
            client.sendall(data)
            patiently(lambda: _on_its_way(client) == 0, "all has arrived")
        finally:
            goes_on.set()

    def stop(self) -> None:
        """Let it begin to stop."""
        with suppress(RuntimeError):  # It has stopped already, and its loop is closed.
            self.loop.call_soon_threadsafe(self.stopped.set)

    async def take_text(self, request: web.Request) -> web.Response:
        text = await read_text(request)
        return web.Response(text=f"{len(text)} characters")

    def route_directly(self, headers: Headers) -> DirectHandler | None:
        """Leaves to the library what says so in its headers, and fails for a key that says that."""
        self.routed += 1
        if headers.get("Idempotency-Key") == "fail":
            raise RuntimeError("on purpose")
        return None if "Leave" in headers else self.take_directly

    def take_directly(self, body: bytes, reply: Reply) -> bool:
        """Leaves to the library what is empty or says so, and lets wait what says that."""
        if body in {b"", b"library"}:
            return False
        if body == b"fail later":
            self.replies.append(reply)
        if body in {b"fail", b"fail later"}:
            raise RuntimeError("on purpose")
        if body == b"stand still":
            time.sleep(STILL_S)
            reply.send(200, "", b"going on")
        elif body == b"wait":
            reply.when_gone(self.ended.set)
            self.replies.append(reply)
        else:
            reply.send(200, "Content-Type: text/plain\r\n", b"directly: " + body)
        return True

    def reply(self, body: bytes) -> None:
        """To the oldest one that waits."""
        self.loop.call_soon_threadsafe(self.replies.pop(0).send, 200, "", body)

    async def give_large(self, request: web.Request) -> web.StreamResponse:
        try:
            response = web.StreamResponse()
            await response.prepare(request)
            while self.written < LARGE_BYTES:
                await response.write(bytes(1 << 16))
                self.written += 1 << 16
            return response
        finally:
            self.ended.set()

    async def give_large_at_once(self, _: web.Request) -> web.Response:
        return web.Response(body=bytes(LARGE_AT_ONCE_BYTES))

    async def wait(self, _: web.Request) -> web.Response:
        try:
            await asyncio.sleep(LONG_S)
        finally:
            self.ended.set()
        return web.Response()

    async def fail(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half of it")
        raise RuntimeError("on purpose")


@contextmanager
def served(**limits: float) -> Iterator[Served]:
    """A server with these limits, and all others too long to matter."""
    (port,) = free_ports(1)
    server = Served(port)
    lasting: dict[str, Any] = {"header_s": LONG_S, "body_s": LONG_S, "idle_s": LONG_S, "stuck_s": LONG_S, **limits}
    up = threading.Event()

    async def serve() -> None:
        app = application(Limits(**lasting))
        app.router.add_get("/text", server.take_text)
        app.router.add_post("/text", server.take_text)
        app.router.add_post("/direct", server.take_text)
        app[DIRECT]["POST", "/direct"] = server.route_directly
        app.router.add_get("/large", server.give_large)
        app.router.add_get("/large-at-once", server.give_large_at_once)
        app.router.add_get("/wait", server.wait)
        app.router.add_get("/fail", server.fail)
        async with serving(app, "127.0.0.1", server.port):
            up.set()
            await server.stopped.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: server.loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert up.wait(PATIENCE_S)
        yield server
    finally:
        server.stop()
        thread.join()


def answers(received: bytes) -> list[Answer]:
    """Status and body, problems parsed, of the answers that stand one after the other in ``received``."""
    found: list[Answer] = []
    while received:
        head, received = received.split(b"\r\n\r\n", 1)
        status = int(head.split()[1])
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length
        size = int(length[1])
        body, received = received[:size], received[size:]
        found.append((status, json.loads(body) if b"problem+json" in head else body.decode()))
    return found


def exchange(server: Served, data: bytes) -> list[Answer]:
    """Send ``data``, as far as the server takes it, and read until it closes the connection."""
    received = b""
    with closing(server.connect()) as client:
        with suppress(ConnectionError):
            client.sendall(data)
        with suppress(ConnectionError):
            while piece := client.recv(1 << 16):
                received += piece
    return answers(received)


def asked(client: socket.socket, request: bytes) -> Answer:
    """Send a request on a connection that stays open, and read its answer."""
    client.sendall(request)
    return one_answer(client)


def one_answer(client: socket.socket) -> Answer:
    """Read an answer from a connection that stays open."""
    received = b""
    while True:
        received += client.recv(1 << 16)
        head, found, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if found and length and len(body) == int(length[1]):
            (answer,) = answers(received)
            return answer


def patiently(condition: Callable[[], bool], what: str) -> None:
    """Wait until ``condition`` is true. What it does takes some time, so there is nothing else to wait for."""
    latest = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < latest, f"still not so after {PATIENCE_S:g} s: {what}"


def _on_its_way(client: socket.socket) -> int:
    """How many bytes have been sent and not arrived, by the system's count."""
    (count,) = struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)))
    return int(count)


def direct_post(body: bytes, fields: bytes = b"") -> bytes:
    return DIRECT_POST + fields + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


@contextmanager
def connected(server: Served) -> Iterator[socket.socket]:
    """A connection on which a request was answered directly."""
    with closing(server.connect()) as client:
        client.sendall(direct_post(b"a"))
        assert one_answer(client) == (200, "directly: a")
        yield client
