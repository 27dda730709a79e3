"""The benchmark's reader counts what it does not parse: so it must count right, however the bytes arrive."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.bench.light_reader import EVENTS, NDJSON, LightReader, Read
from tests.bench.load import LoadError

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def record(offset: int, message: str = "}") -> bytes:
    return b'{"offset": %d, "epoch": 1, "message": "%s"}\n' % (offset, message.encode())


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@contextmanager
def node_that_sends(answer: bytes) -> Iterator[str]:
    """A server that answers one request with these bytes, and hangs up."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            client, _ = server.accept()
            with closing(client):
                client.recv(1 << 16)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            thread.join()


def lines(answer: bytes, start: int = 0) -> Read:
    with node_that_sends(answer) as url, LightReader(url, NDJSON, start=start) as reader:
        return reader.read()


def test_records_are_counted_wherever_the_bytes_are_torn(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = HEAD + chunk(record(7) + record(8)) + chunk(record(9)) + END
    for piece_bytes in range(1, len(answer) + 1):
        monkeypatch.setattr("tests.bench.light_reader._PIECE_BYTES", piece_bytes)
        read = lines(answer, start=7)
        assert (read.records, read.last_offset) == (3, 9), piece_bytes


def test_nothing_to_read_is_nothing_read() -> None:
    read = lines(HEAD + END, start=7)
    assert (read.records, read.last_offset) == (0, 6)


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + chunk(record(0) + record(2)) + END,
        HEAD + chunk(record(1)) + END,
        HEAD + chunk(record(0)),
        HEAD + chunk(record(0))[:-5],
        HEAD.replace(b"200 OK", b"503 Service Unavailable") + chunk(record(0)) + END,
        b"",
    ],
    ids=["a gap", "a late start", "no end", "half a record", "an error", "nothing at all"],
)
def test_an_answer_that_is_not_the_whole_log_is_none(answer: bytes) -> None:
    with pytest.raises(LoadError):
        lines(answer)


def test_events_are_read_up_to_the_one_that_is_waited_for() -> None:
    events = [b"id: -1\n\n", *(b"id: %d\ndata: %s\n" % (n, record(n)) for n in range(3))]
    last = b"id: 3\ndata: %s\n" % record(3, "the last")
    with (
        node_that_sends(HEAD + b"".join(map(chunk, [*events, last]))) as url,
        LightReader(url, EVENTS, start=0) as reader,
    ):
        read = reader.read(until=b'"message": "the last"}\n')
    assert (read.records, read.last_offset) == (4, 3)
