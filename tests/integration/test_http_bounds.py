"""What a client can't do to a node by HTTP, on raw sockets: each bound is shortened, and then overstepped."""

import logging
import socket
import time
from contextlib import ExitStack, closing, suppress
from itertools import pairwise
from typing import Final

import pytest

from infra.http.door import MAX_REFUSALS
from tests.cluster import PATIENCE_S
from tests.http_server import (
    GET,
    HOST,
    LARGE_AT_ONCE_BYTES,
    LARGE_BYTES,
    POST,
    STILL_S,
    Served,
    answers,
    asked,
    connected,
    direct_post,
    exchange,
    one_answer,
    patiently,
    served,
)

LAST_GET: Final = b"GET /text HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"


def test_requests_are_served_one_after_the_other_on_a_connection() -> None:
    with served() as server:
        posted = POST + b"Content-Length: 3\r\n\r\nabc"
        assert exchange(server, posted + GET + LAST_GET) == [
            (200, "3 characters"),
            (200, "0 characters"),
            (200, "0 characters"),
        ]


def test_others_have_their_turn_among_many_requests_that_come_at_once() -> None:
    many = 1000
    begun = [0]
    with served() as server, closing(server.connect()) as client:

        def take_turn() -> None:
            if begun[-1] != server.routed:
                begun.append(server.routed)
            if server.routed < many:
                server.loop.call_soon(take_turn)

        server.loop.call_soon_threadsafe(take_turn)
        server.send_whole(client, direct_post(b"a") * many + LAST_GET)
        received = b""
        while piece := client.recv(1 << 16):
            received += piece
        assert len(answers(received)) == many + 1
    assert max(after - before for before, after in pairwise(begun)) < many // 5


NOT_HTTP = [
    pytest.param(b"nonsense\r\n\r\n", 400, "bad-request", id="no request line"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "bad-request", id="TLS"),
    pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad-request", id="HTTP/2"),
    pytest.param(b"GET /text HTTP/1.1\r\n\r\n", 400, "bad-request", id="no host"),
    pytest.param(b"GET /text HTTP/1.1\r\n" + HOST + b"no colon\r\n\r\n", 400, "bad-request", id="no field"),
    pytest.param(b"GET http://[::1/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad-request", id="no URL"),
    pytest.param(b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad-request", id="target not ASCII"),
    pytest.param(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n", 431, "header-too-large", id="long target"),
    pytest.param(b"GET /" + b"a" * 10**6, 431, "header-too-large", id="endless target"),
    pytest.param(b"GET / HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431, "header-too-large", id="long field"),
    pytest.param(b"GET / HTTP/1.1\r\nX: " + b"a" * 10**6, 431, "header-too-large", id="endless field"),
    pytest.param(b"GET / HTTP/1.1\r\n" + b"a" * 10**6, 431, "header-too-large", id="endless field name"),
    pytest.param(b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 10**5, 400, "bad-request", id="endless fields"),
    pytest.param(POST + b"Content-Length: -1\r\n\r\n", 400, "bad-request", id="negative length"),
    pytest.param(POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400, "bad-request", id="two lengths"),
    pytest.param(
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", 400, "bad-request", id="length and chunks"
    ),
    pytest.param(POST + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n", 400, "bad-request", id="no chunk"),
]


@pytest.mark.parametrize(("request_", "status", "code"), NOT_HTTP)
def test_what_is_no_http_is_refused_with_a_problem_and_the_connection_closed(
    request_: bytes, status: int, code: str
) -> None:
    with served() as server:
        ((answered, problem),) = exchange(server, request_)
    assert (answered, problem["code"], problem["appended"], problem["retry"]) == (status, code, "no", "no")


def test_a_header_that_does_not_come_to_its_end_is_refused() -> None:
    with served(header_s=0.2) as server:
        ((status, problem),) = exchange(server, b"GET /text HTTP/1.1\r\nHost:")
    assert (status, problem["code"], problem["appended"], problem["retry"]) == (408, "slow-header", "no", "safe")


def test_a_request_whose_server_stood_still_before_it_was_handled_is_not_slow() -> None:
    with (
        served(header_s=STILL_S / 2) as server,
        connected(server) as first,
        connected(server) as client,
        connected(server) as second,
    ):
        first.sendall(direct_post(b"stand still"))
        # These two are read in one go after that, in this order, and only then handled.
        client.sendall(GET)
        second.sendall(direct_post(b"stand still"))
        assert one_answer(client) == (200, "0 characters")


def test_a_second_header_that_does_not_come_to_its_end_is_refused_after_the_first_was_answered() -> None:
    with served(header_s=0.2) as server, closing(server.connect()) as client:
        client.sendall(GET)
        assert one_answer(client) == (200, "0 characters")
        client.sendall(b"GET")
        assert one_answer(client)[1]["code"] == "slow-header"
        assert client.recv(1) == b""


def test_an_empty_line_in_two_pieces_is_no_header_that_does_not_come_to_its_end() -> None:
    with served(header_s=0.2, idle_s=1) as server, connected(server) as client:
        for piece in (b"\r", b"\n"):
            client.sendall(piece)
            patiently(lambda: server.has_read(client), "the piece is read")
        assert client.recv(1) == b"", "closed when it was idle for long, without a 408"


def test_half_of_an_empty_line_does_not_keep_a_connection_open() -> None:
    with served(header_s=0.2) as server, connected(server) as client:
        client.sendall(b"\r")
        assert one_answer(client)[1]["code"] == "slow-header"


def test_a_handler_may_take_longer_than_a_header() -> None:
    with served(header_s=0.1, body_s=0.5) as server, closing(server.connect()) as client:
        client.sendall(POST + b"Content-Length: 3\r\n\r\n")
        assert one_answer(client)[1]["code"] == "slow-body"


def test_an_idle_connection_is_closed() -> None:
    with served(idle_s=0.2) as server:
        assert exchange(server, b"") == []
        assert exchange(server, GET) == [(200, "0 characters")]


def test_one_connection_too_many_is_refused_until_another_is_closed() -> None:
    with served(connections=2) as server, closing(server.connect()) as first, closing(server.connect()) as second:
        for client in (first, second):
            assert asked(client, GET) == (200, "0 characters")
        ((status, problem),) = exchange(server, GET)
        assert (status, problem["code"], problem["appended"], problem["retry"]) == (
            503,
            "too-many-connections",
            "no",
            "safe",
        )
        second.close()
        _wait_for_room(server)


def test_refused_connections_that_stay_open_are_bounded_too() -> None:
    with served(connections=1) as server, connected(server), ExitStack() as clients:
        refused = [clients.enter_context(closing(server.connect())) for _ in range(MAX_REFUSALS)]
        for client in refused:
            assert one_answer(client)[1]["code"] == "too-many-connections"
        with suppress(ConnectionError):
            assert exchange(server, b"") == []


def test_a_body_that_is_not_there_when_the_server_stops_is_waited_for_no_longer() -> None:
    with served() as server, closing(server.connect()) as client:
        client.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n")
        assert client.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        server.stop()
        status, problem = one_answer(client)
        assert (status, problem["code"], problem["appended"], problem["retry"]) == (503, "stopping", "no", "safe")
        assert client.recv(1) == b""


@pytest.mark.parametrize("path", [b"/large", b"/large-at-once"])
def test_a_reader_who_takes_nothing_is_cut_off_and_costs_little_memory_until_then(path: bytes) -> None:
    with served(stuck_s=0.3, connections=1) as server, closing(server.connect()) as client:
        client.sendall(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n")
        _wait_for_room(server)
        assert server.written <= LARGE_BYTES // 8, "no more than the kernel's buffers hold"


def test_a_reader_who_takes_his_time_gets_it_all() -> None:
    with served(stuck_s=1.0) as server, closing(server.connect()) as client:
        client.sendall(b"GET /large-at-once HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")
        received = 0
        while piece := client.recv(4 << 20, socket.MSG_WAITALL):
            received += len(piece)
            time.sleep(0.25)
        assert received > LARGE_AT_ONCE_BYTES


def test_a_handler_is_cancelled_when_its_client_goes_away() -> None:
    with served() as server:
        with closing(server.connect()) as client:
            client.sendall(b"GET /wait HTTP/1.1\r\nExpect: 100-continue\r\n" + HOST + b"\r\n")
            assert client.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert server.ended.wait(PATIENCE_S)


def test_an_answer_that_fails_halfway_is_broken_off() -> None:
    with served() as server, closing(server.connect()) as client:
        client.sendall(b"GET /fail HTTP/1.1\r\n" + HOST + b"\r\n")
        received = b""
        with suppress(ConnectionError):
            while piece := client.recv(1 << 16):
                received += piece
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert not received.endswith(b"0\r\n\r\n"), "the last chunk, which would make it whole"
    assert received.count(b"HTTP/1.1") == 1


def test_a_refusal_is_one_line_in_the_log_whatever_the_client_has_written(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "infra.http.problems")
    with served() as server:
        exchange(server, b"GET /%0d%0aforged?%1b HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")
    (line,) = (record.getMessage() for record in caplog.records if record.name == "infra.http.problems")
    assert line.startswith("refused GET '/%0d%0aforged?%1b': 404 not-found (GET /\\r\\nforged: Not Found)")


def _wait_for_room(server: Served) -> None:
    """Wait until the server takes one more connection."""

    def is_taken() -> bool:
        answers = exchange(server, LAST_GET)
        assert answers == [] or answers[0][1] == "0 characters" or answers[0][1]["code"] == "too-many-connections"
        return answers == [(200, "0 characters")]

    patiently(is_taken, "there is room for one more connection")
