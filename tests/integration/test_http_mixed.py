"""Requests of all kinds behind one another: each gets the answer that it gets alone."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.http_server import HOST, POST, Answer, Served, answers, direct_post, patiently, served

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
INNER = direct_post(b"inner")
LAST = b"GET /text HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"
REQUESTS = [
    direct_post(b"abc"),
    direct_post(b"abc", b"Idempotency-Key: first\r\n"),
    direct_post(b"abc", b"Idempotency-Key: second\r\n"),
    direct_post(b"library"),
    direct_post(b"library", b"Idempotency-Key: third\r\n"),
    direct_post(b"x" * 7, b"Leave: it\r\n"),
    direct_post(INNER),
    direct_post(b""),
    b"\r\n" + direct_post(b"behind an empty line"),
    b"GET /text HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /absent HTTP/1.1\r\n" + HOST + b"\r\n",
    b"PUT /text HTTP/1.1\r\nContent-Length: 3\r\n" + HOST + b"\r\nabc",
    b"GET /text HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n" + HOST + b"\r\n",
    POST + b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 3\r\n\r\nabc",
    POST + b"Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 3\r\n\r\nabc",
    POST + b"Content-Length: %d\r\n\r\n" % len(INNER) + INNER,
    POST + b"Content-Length: 100000\r\n\r\n" + bytes(100_000),
    POST + CHUNKED + b"3\r\nabc\r\n4;a=b\r\n\r\n\r\n\r\n0\r\n\r\n",
    POST + CHUNKED + b'3;a="b; \\"c\\"";d;e=!\r\nabc\r\n0\r\n\r\n',
    POST + CHUNKED + b"%x\r\n" % len(INNER) + INNER + b"\r\n0\r\n\r\n",
    POST + b"Content-Encoding: gzip\r\n" + CHUNKED + b"0\r\n\r\n",
]


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served() as server:
        yield server


def said(received: bytes) -> list[Answer]:
    """The answers, without the difference that it makes who gives them: a body that comes later is the library's."""
    found = []
    for status, text in answers(received):
        _, is_direct, body = text.partition("directly: ") if isinstance(text, str) else ("", "", "")
        found.append((status, f"{len(body)} characters" if is_direct else text))
    return found


def answered(server: Served, data: bytes, *cuts: int) -> bytes:
    """All that the server sends; it is sent ``data`` in pieces that end at ``cuts``, each when the last was read."""
    ends = [*sorted({cut for cut in cuts if cut < len(data)}), len(data)]
    received = b""
    with closing(server.connect()) as client:
        for begin, end in zip([0, *ends], ends, strict=False):
            client.sendall(data[begin:end])
            if end < len(data):
                patiently(lambda: server.has_read(client), "the piece is read")
        while piece := client.recv(1 << 16):
            received += piece
    return received


@pytest.fixture(scope="module")
def alone(server: Served) -> list[Answer]:
    """What each of the requests is answered when it is the only one on its connection."""
    return [said(answered(server, request + LAST))[0] for request in REQUESTS]


@settings(max_examples=60, deadline=None)
@given(
    picked=st.lists(st.sampled_from(range(len(REQUESTS))), max_size=8),
    cuts=st.lists(st.integers(1, 2000), max_size=4),
)
@example(picked=list(range(len(REQUESTS))), cuts=[])
@example(picked=list(range(len(REQUESTS)))[::-1], cuts=[1, 50, 100, 150])
def test_each_request_gets_the_answer_that_it_gets_alone(
    server: Served, alone: list[Answer], picked: list[int], cuts: list[int]
) -> None:
    data = b"".join([*(REQUESTS[number] for number in picked), LAST])
    assert said(answered(server, data, *cuts)) == [*(alone[number] for number in picked), (200, "0 characters")]


def test_two_requests_are_answered_in_order_though_cut_at_any_place(server: Served) -> None:
    first, second = direct_post(b"abc", b"Idempotency-Key: cut\r\n"), POST + CHUNKED + b"2\r\nab\r\n0\r\n\r\n"
    data = first + second + LAST
    for cut in range(1, len(first + second)):
        found = said(answered(server, data, cut))
        assert found == [(200, "3 characters"), (200, "2 characters"), (200, "0 characters")]
