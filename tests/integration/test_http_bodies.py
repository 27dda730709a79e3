"""Bodies of requests: late, endless, in bad chunks, compressed, or too many at once."""

import logging
from contextlib import closing, suppress

import pytest

from tests.http_server import (
    GET,
    POST,
    asked,
    exchange,
    one_answer,
    patiently,
    served,
)


def test_a_body_that_does_not_come_to_its_end_is_refused() -> None:
    with served(body_s=0.2) as server:
        ((status, problem),) = exchange(server, POST + b"Content-Length: 10\r\n\r\nslow")
    assert (status, problem["code"], problem["appended"], problem["retry"]) == (408, "slow-body", "no", "safe")


def test_a_body_that_trickles_is_refused_when_its_time_is_over() -> None:
    with served(body_s=0.5) as server, closing(server.connect()) as client:
        client.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        client.settimeout(0.05)
        while True:
            client.sendall(b"1\r\nx\r\n")
            try:
                answer = client.recv(1 << 16)
            except TimeoutError:
                continue
            break
        assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("framing", [b"Content-Length: 10000000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
def test_an_endless_body_is_refused(framing: bytes) -> None:
    with served() as server:
        ((status, problem),) = exchange(server, POST + framing + (b"100000\r\n" + bytes(1 << 20) + b"\r\n") * 20)
    assert (status, problem["code"], problem["appended"], problem["retry"]) == (413, "body-too-large", "no", "no")


def test_a_length_with_thousands_of_zeros_before_it_is_a_number_as_any_other() -> None:
    with served() as server, closing(server.connect()) as client:
        client.sendall(POST + b"Content-Length: " + b"0" * 5000 + b"3\r\n\r\nabc")
        assert one_answer(client) == (200, "3 characters")


def test_a_body_with_a_bad_chunk_is_refused_at_once_though_its_beginning_was_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with served() as server, closing(server.connect()) as client:
        client.sendall(POST + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert client.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"3\r\nabc\r\nnonsense\r\n")
        status, problem = one_answer(client)
        assert (status, problem["code"], problem["appended"], problem["retry"]) == (400, "broken-body", "no", "no")
        assert client.recv(1) == b""
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_a_body_in_chunks_that_are_too_small_is_refused() -> None:
    with served() as server, closing(server.connect()) as client:
        client.sendall(POST + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert client.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        with suppress(ConnectionError):
            client.sendall(b"1\r\na\r\n" * 50_000)
        status, problem = one_answer(client)
        assert (status, problem["code"], problem["appended"], problem["retry"]) == (400, "broken-body", "no", "no")


@pytest.mark.parametrize(
    "field", [b"Content-Encoding: gzip", b"Content-Encoding: br, gzip", b"Transfer-Encoding: gzip, chunked"]
)
def test_a_compressed_body_is_refused_so_that_no_bomb_can_go_off(field: bytes) -> None:
    with served() as server, closing(server.connect()) as client:
        chunked = b"" if b"chunked" in field else b"\r\nTransfer-Encoding: chunked"
        client.sendall(POST + field + chunked + b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        assert one_answer(client)[1]["code"] == "unsupported-encoding"
        client.sendall(GET)
        assert one_answer(client) == (200, "0 characters")


def test_an_expectation_that_can_not_be_met_is_refused() -> None:
    with served() as server, closing(server.connect()) as client:
        client.sendall(POST + b"Expect: a miracle\r\nContent-Length: 3\r\n\r\n")
        status, problem = one_answer(client)
        assert (status, problem["code"], problem["appended"], problem["retry"]) == (
            417,
            "expectation-failed",
            "no",
            "no",
        )


def test_bodies_of_all_requests_together_are_bounded_until_their_requests_are_answered() -> None:
    with served(bodies_bytes=1000) as server, closing(server.connect()) as holder, closing(server.connect()) as client:
        holder.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 801\r\n\r\n")
        assert holder.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        holder.sendall(bytes(800))
        small = POST + b"Content-Length: 300\r\n\r\n" + bytes(300)
        # As long as the holder's bytes are still on their way, there is room.
        patiently(lambda: asked(client, small) != (200, "300 characters"), "there is no room")
        status, problem = asked(client, small)
        assert (status, problem["code"], problem["appended"], problem["retry"]) == (503, "overloaded", "no", "safe")
        holder.sendall(b"x")
        assert one_answer(holder) == (200, "801 characters")
        assert asked(client, small) == (200, "300 characters")
