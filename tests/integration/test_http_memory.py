"""Memory is bounded by bytes: of heads and bodies, of those that are not whole too, of all connections together."""

import os
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Final

from tests.cluster import PATIENCE_S
from tests.http_server import HOST, POST, Served, connected, direct_post, exchange, one_answer, patiently, served

CONNECTIONS: Final = 500
FIELDS: Final = 96
FIELD: Final = b"X: " + b"a" * 8186 + b"\r\n"
MOST_BYTES: Final = 128 << 20
BEGINNING: Final = b"POST /text HTTP/1.1\r\n" + HOST + b"X: "


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def has_read_all(server: Served) -> bool:
    """Whether the server has read all that came on its connections, by the system's table of them."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return all(line[4].endswith(":00000000") for line in lines if line[1].endswith(f":{server.port:04X}"))


def test_heads_without_an_end_cost_little_however_many_there_are() -> None:
    with served() as server, ExitStack() as clients:
        before = resident_bytes()
        connections = [clients.enter_context(closing(server.connect())) for _ in range(CONNECTIONS)]
        for client in connections:
            with suppress(ConnectionError):
                client.sendall(BEGINNING + b"a\r\n" + FIELD * FIELDS)
        patiently(lambda: has_read_all(server), "all is read")
        assert resident_bytes() - before < MOST_BYTES
        for client in connections:
            assert one_answer(client)[1]["code"] == "header-too-large"


def test_heads_that_are_not_whole_are_counted_together_and_the_one_too_many_is_refused() -> None:
    with served(bodies_bytes=20_000) as server, closing(server.connect()) as first:
        first.sendall(BEGINNING + b"a" * 7000 + b"\r\nY: " + b"a" * 7000)
        patiently(lambda: server.has_read(first), "the beginning is read")
        ((status, problem),) = exchange(server, BEGINNING + b"a" * 7000)
        assert (status, problem["code"], problem["appended"], problem["retry"]) == (503, "overloaded", "no", "safe")
        first.sendall(b"\r\nContent-Length: 3\r\n\r\nabc")
        assert one_answer(first) == (200, "3 characters")
        with closing(server.connect()) as second:
            second.sendall(BEGINNING + b"a" * 7000 + b"\r\nContent-Length: 3\r\n\r\nabc")
            assert one_answer(second) == (200, "3 characters")


def test_a_head_that_was_refused_as_slow_is_no_longer_counted() -> None:
    with served(bodies_bytes=10_000, header_s=0.2) as server, closing(server.connect()) as slow:
        slow.sendall(BEGINNING + b"a" * 8000)
        assert one_answer(slow)[1]["code"] == "slow-header"
        assert exchange(server, POST + b"Connection: close\r\nContent-Length: 5000\r\n\r\n" + bytes(5000)) == [
            (200, "5000 characters")
        ]


def test_a_body_that_becomes_too_much_is_refused_in_its_midst() -> None:
    with served(bodies_bytes=20_000) as server, closing(server.connect()) as client:
        client.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 30000\r\n\r\n")
        assert client.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(bytes(10_000))
        patiently(lambda: server.has_read(client), "a part is read")
        client.sendall(bytes(15_000))
        assert one_answer(client)[1]["code"] == "overloaded"
        assert client.recv(1) == b""
        assert exchange(server, POST + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc") == [(200, "3 characters")]


def test_a_client_that_leaves_is_noticed_though_much_waits_behind_its_request() -> None:
    with served() as server, connected(server) as client:
        client.sendall(direct_post(b"wait"))
        patiently(lambda: bool(server.replies), "the request waits for its reply")
        client.sendall(direct_post(b"x" * 60_000) * 200)
        client.close()
        assert server.ended.wait(PATIENCE_S)


def test_too_much_behind_a_request_is_refused_after_the_answer_to_that() -> None:
    with served() as server, connected(server) as client:
        client.sendall(direct_post(b"wait"))
        patiently(lambda: bool(server.replies), "the request waits for its reply")
        client.sendall(direct_post(b"x" * 60_000) * 200)
        server.reply(b"at last")
        received = b""
        while piece := client.recv(1 << 16):
            received += piece
        assert received.index(b"at last") < received.index(b"overloaded")
        assert received.count(b"HTTP/1.1 ") == 2


def test_what_waits_behind_a_request_is_counted_and_refused_after_the_answer_to_that() -> None:
    with served(bodies_bytes=20_000) as server, connected(server) as client:
        client.sendall(direct_post(b"wait"))
        patiently(lambda: bool(server.replies), "the request waits for its reply")
        client.sendall(direct_post(b"x" * 19_000) * 2)
        patiently(lambda: server.has_read(client), "what is behind is read")
        server.reply(b"at last")
        received = b""
        while piece := client.recv(1 << 16):
            received += piece
        assert received.index(b"at last") < received.index(b"overloaded")
        assert received.count(b"HTTP/1.1 ") == 2
        assert exchange(server, POST + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc") == [(200, "3 characters")]
