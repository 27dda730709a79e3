"""Requests that are handled without the library, among those that are not, on raw sockets."""

import socket
from contextlib import suppress

import pytest

from tests.http_server import DIRECT_POST, Served, connected, direct_post, exchange, one_answer, patiently, served

LAST = direct_post(b"library", b"Connection: close\r\n")
LAST_ANSWER = (200, "7 characters")


def ask_to_wait(server: Served, client: socket.socket) -> None:
    client.sendall(direct_post(b"wait"))
    patiently(lambda: bool(server.replies), "the request waits for its reply")


def test_a_small_request_is_answered_directly_and_the_connection_kept() -> None:
    with served() as server, connected(server) as client:
        for body in (b"a", b"b" * 60_000):
            server.send_whole(client, direct_post(body))
            assert one_answer(client) == (200, f"directly: {body.decode()}")


def test_an_answer_has_the_headers_that_the_library_gives() -> None:
    with served() as server, connected(server) as client:
        heads = []
        for body in (b"a", b"library"):
            client.sendall(direct_post(body))
            head = client.recv(1 << 16).split(b"\r\n\r\n")[0]
            heads.append([line.split(b":")[0] for line in head.split(b"\r\n")])
    assert heads[0][0] == heads[1][0]
    assert set(heads[0]) == set(heads[1])


UNUSUAL = [
    pytest.param(direct_post(b"library"), id="refused by its handler"),
    pytest.param(direct_post(b"x" * 7, b"Leave: it\r\n"), id="without a handler for its headers"),
    pytest.param(direct_post(b"x" * 7, b"Connection: close\r\n"), id="the last one"),
    pytest.param(direct_post(b"x" * 7, b"Content-Encoding: identity\r\n"), id="encoded"),
    pytest.param(DIRECT_POST + b"Transfer-Encoding: chunked\r\n\r\n7\r\nxxxxxxx\r\n0\r\n\r\n", id="in chunks"),
    pytest.param(direct_post(b"x" * 7).replace(b"HTTP/1.1", b"HTTP/1.0"), id="HTTP/1.0"),
    pytest.param(direct_post(b"x" * 7).replace(b"/direct", b"/direct?q"), id="with a query"),
]


@pytest.mark.parametrize("request_", UNUSUAL)
def test_what_is_unusual_is_left_to_the_library_whole(request_: bytes) -> None:
    with served() as server, connected(server) as client:
        client.sendall(request_)
        assert one_answer(client) == (200, "7 characters")


@pytest.mark.parametrize("request_", UNUSUAL)
def test_what_comes_among_requests_whose_head_is_known_is_read_as_ever(request_: bytes) -> None:
    with served() as server, connected(server) as client:
        for body in (b"abc", b"xyz"):
            client.sendall(direct_post(body))
            assert one_answer(client) == (200, f"directly: {body.decode()}")
        client.sendall(request_)
        assert one_answer(client) == (200, "7 characters")


def test_a_head_that_is_known_is_not_parsed_again() -> None:
    with served() as server, connected(server) as client, connected(server) as other:
        for body in (b"abc", b"xyz"):
            client.sendall(direct_post(body))
            assert one_answer(client) == (200, f"directly: {body.decode()}")
        routed = server.routed
        for each in (client, other):
            each.sendall(direct_post(b"def"))
            assert one_answer(each) == (200, "directly: def")
        assert server.routed == routed
        client.sendall(direct_post(b"abcd"))
        assert one_answer(client) == (200, "directly: abcd")
        assert server.routed == routed + 1


@pytest.mark.parametrize("field", [b"Idempotency-Key: k", b'If-Match: "7"'])
def test_a_head_that_hardly_comes_again_is_not_learned(field: bytes) -> None:
    with served() as server, connected(server) as client:
        routed = server.routed
        for times in (1, 2):
            client.sendall(direct_post(b"abc", field + b"\r\n"))
            assert one_answer(client) == (200, "directly: abc")
            assert server.routed == routed + times


@pytest.mark.parametrize("cut", [1, -7, -1])
def test_a_request_in_two_pieces_is_none_whose_head_is_known(cut: int) -> None:
    request = direct_post(b"abcdefg")
    with served() as server, connected(server) as client:
        client.sendall(request)
        assert one_answer(client) == (200, "directly: abcdefg")
        client.sendall(request[:cut])
        patiently(lambda: server.has_read(client), "the first piece is read")
        client.sendall(request[cut:])
        assert one_answer(client) in {(200, "7 characters"), (200, "directly: abcdefg")}


def test_a_known_head_that_continues_another_belongs_to_that() -> None:
    known = direct_post(b"abc")
    with served() as server, connected(server) as client:
        client.sendall(known)
        assert one_answer(client) == (200, "directly: abc")
        client.sendall(b"POST /text HTTP/1.1\r\nX: ")
        patiently(lambda: server.has_read(client), "the beginning is read")
        client.sendall(known)
        assert one_answer(client) == (200, "3 characters")


def test_a_request_behind_one_that_is_not_whole_yet_belongs_to_its_body() -> None:
    inner = direct_post(b"abc")
    with served() as server, connected(server) as client:
        client.sendall(inner)
        assert one_answer(client) == (200, "directly: abc")
        client.sendall(direct_post(inner)[: -len(inner)])
        patiently(lambda: server.has_read(client), "the head is read")
        client.sendall(inner)
        assert one_answer(client) in {
            (200, f"{len(inner)} characters"),
            (200, f"directly: {inner.decode()}"),
        }


def test_a_large_body_is_left_to_the_library() -> None:
    with served() as server, connected(server) as client:
        client.sendall(direct_post(b"x" * 70_000))
        assert one_answer(client) == (200, "70000 characters")


def test_a_body_that_comes_later_is_waited_for_by_the_library() -> None:
    with served() as server, connected(server) as client:
        request = direct_post(b"abcdefg")
        client.sendall(request[:-3])
        client.sendall(request[-3:])
        status, text = one_answer(client)
        assert (status, text) in {(200, "7 characters"), (200, "directly: abcdefg")}


def test_requests_on_one_connection_are_answered_in_order_whoever_handles_them() -> None:
    with served() as server:
        requests = [direct_post(b"a"), direct_post(b"library"), direct_post(b"b"), direct_post(b"library"), LAST]
        answers = [text for _, text in exchange(server, b"".join(requests))]
    assert answers == ["directly: a", "7 characters", "directly: b", "7 characters", "7 characters"]


def test_what_comes_behind_one_that_waits_is_answered_after_it() -> None:
    with served() as server, connected(server) as client:
        ask_to_wait(server, client)
        client.sendall(direct_post(b"a"))
        client.sendall(LAST)
        server.reply(b"at last")
        received = b""
        while piece := client.recv(1 << 16):
            received += piece
    places = [received.index(text) for text in (b"at last", b"directly: a", b"7 characters")]
    assert places == sorted(places)


def test_a_client_that_goes_away_is_forgotten_and_a_late_reply_goes_nowhere() -> None:
    with served() as server:
        with connected(server) as client:
            ask_to_wait(server, client)
        assert server.ended.wait(60)
        server.reply(b"too late")
        assert exchange(server, LAST) == [LAST_ANSWER]


def test_a_connection_is_not_idle_while_its_request_waits_and_is_closed_when_it_is() -> None:
    with served(idle_s=0.2) as server, connected(server) as client, connected(server) as idle:
        ask_to_wait(server, client)
        assert idle.recv(1) == b""
        server.reply(b"still here")
        assert one_answer(client) == (200, "still here")
        assert client.recv(1) == b""


def test_a_header_that_does_not_come_to_its_end_after_a_direct_answer_is_refused() -> None:
    with served(header_s=0.2) as server, connected(server) as client:
        ask_to_wait(server, client)
        server.reply(b"in time")
        assert one_answer(client) == (200, "in time")
        client.sendall(b"POST /direct HTTP/1.1\r\n")
        assert one_answer(client)[0] == 408


def test_a_server_that_stops_waits_for_the_reply() -> None:
    with served() as server, connected(server) as client:
        ask_to_wait(server, client)
        server.stop()
        patiently(lambda: not server.accepts(), "the server has begun to stop")
        server.reply(b"just in time")
        assert one_answer(client) == (200, "just in time")


def test_a_server_that_stops_waits_for_the_reply_on_a_connection_that_the_library_has_answered_on() -> None:
    with served() as server, connected(server) as client:
        client.sendall(direct_post(b"library"))
        assert one_answer(client) == LAST_ANSWER
        ask_to_wait(server, client)
        server.stop()
        patiently(lambda: not server.accepts(), "the server has begun to stop")
        server.reply(b"just in time")
        assert one_answer(client) == (200, "just in time")
        assert client.recv(1) == b""


def test_a_connection_is_idle_after_an_answer_at_once() -> None:
    with served(header_s=0.2, idle_s=1) as server, connected(server) as client:
        client.sendall(direct_post(b"a"))
        assert one_answer(client) == (200, "directly: a")
        assert client.recv(1 << 16) == b""  # Closed when it was idle for long, without a 408.


def test_a_handler_that_fails_is_answered_as_one_of_the_library_is(caplog: pytest.LogCaptureFixture) -> None:
    with served() as server, connected(server) as client:
        client.sendall(direct_post(b"fail"))
        status, problem = one_answer(client)
        assert (status, problem["code"], problem["appended"]) == (500, "internal-error", "unknown")
        assert "POST '/direct' failed: on purpose" in caplog.text
        assert client.recv(1) == b""


def test_a_late_reply_of_a_handler_that_failed_answers_no_other_request() -> None:
    with served() as server, connected(server) as client:
        client.sendall(direct_post(b"fail later"))
        assert one_answer(client)[0] == 500
        with suppress(ConnectionError):
            client.sendall(direct_post(b"wait"))
        server.reply(b"too late")
        with suppress(ConnectionError):
            assert client.recv(1) == b""


def test_a_client_that_sends_no_more_counts_as_gone() -> None:
    with served() as server, connected(server) as client:
        ask_to_wait(server, client)
        client.shutdown(socket.SHUT_WR)
        assert server.ended.wait(60)
        assert client.recv(1) == b""


def test_a_server_that_stops_forgets_at_last_a_request_that_is_never_answered() -> None:
    with served() as server, connected(server) as client:
        ask_to_wait(server, client)
        server.stop()
        with suppress(ConnectionError):
            assert client.recv(1) == b""
        assert server.ended.wait(60)


@pytest.mark.parametrize("key", [b"a", None], ids=["with a head that is known but for its key", "with a new head"])
def test_a_route_that_fails_is_answered_and_its_connection_closed(
    key: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    with served() as server, connected(server) as client:
        if key is not None:
            client.sendall(direct_post(b"abc", b"Idempotency-Key: %b\r\n" % key))
            assert one_answer(client) == (200, "directly: abc")
        client.sendall(direct_post(b"abc", b"Idempotency-Key: fail\r\n"))
        status, problem = one_answer(client)
        assert (status, problem["code"], problem["appended"]) == (500, "internal-error", "no")
        assert "POST '/direct' failed: on purpose" in caplog.text
        assert client.recv(1) == b""
