"""No answer says what software gives it."""

from contextlib import suppress

import pytest

from tests.http_server import DIRECT_POST, HOST, POST, Served, direct_post, served

END = b"Connection: close\r\n\r\n"
GET = b"GET /text HTTP/1.1\r\n" + HOST


def answer(server: Served, request: bytes) -> bytes:
    """All that the server sends before it closes the connection."""
    received = b""
    with server.connect() as client, suppress(ConnectionError):
        client.sendall(request)
        while piece := client.recv(1 << 16):
            received += piece
    return received


@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        pytest.param(GET + END, [200], id="a library's answer"),
        pytest.param(GET.replace(b"GET", b"HEAD") + END, [200], id="a head alone"),
        pytest.param(direct_post(b"a") + GET + END, [200, 200], id="a direct answer"),
        pytest.param(direct_post(b"fail"), [500], id="a fault in a direct handler"),
        pytest.param(b"GET /absent HTTP/1.1\r\n" + HOST + END, [404], id="nothing there"),
        pytest.param(b"PUT /text HTTP/1.1\r\n" + HOST + END, [405], id="another method"),
        pytest.param(b"GET /fail HTTP/1.1\r\n" + HOST + END, [200], id="an answer that is broken off"),
        pytest.param(POST + b"Content-Length: 99999999\r\n" + END, [413], id="a large body"),
        pytest.param(POST + b"Expect: a miracle\r\n" + END, [417], id="an expectation"),
        pytest.param(DIRECT_POST + b"Content-Encoding: gzip\r\n" + END, [415], id="an encoding"),
        pytest.param(b"nonsense\r\n\r\n", [400], id="no head"),
        pytest.param(POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", [400], id="a bad chunk"),
        pytest.param(GET + b"X: " + b"a" * 9000 + b"\r\n" + END, [431], id="a long field"),
        pytest.param(POST + b"Content-Length: 1000\r\n\r\n" + bytes(1000) + GET + END, [503, 200], id="too many bytes"),
        pytest.param(b"GET", [408], id="a slow head"),
    ],
)
def test_no_answer_says_what_software_gives_it(request_: bytes, statuses: list[int]) -> None:
    with served(header_s=0.2, bodies_bytes=900) as server:
        received = answer(server, request_)
    assert [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]] == statuses
    assert b"\r\nserver:" not in received.lower()
    assert b"aiohttp" not in received.lower()


def test_neither_does_the_answer_to_a_connection_too_many() -> None:
    with served(connections=1) as server, server.connect() as first:
        first.sendall(GET + b"\r\n")
        assert first.recv(1 << 16).startswith(b"HTTP/1.1 200 OK\r\n")
        received = answer(server, GET + END)
    assert received.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nserver:" not in received.lower()
