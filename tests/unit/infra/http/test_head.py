"""What a head says, beside what aiohttp reads in it: the two must never disagree on where a request ends."""

import asyncio
from collections.abc import Iterator

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from hypothesis import example, given
from hypothesis import strategies as st

from infra.http.head import CHUNKED, MAX_HEAD_BYTES, Head, HeadReader, behind_empty_lines
from infra.http.limits import Limits
from infra.http.problems import HttpProblem

LIMITS = Limits()
HOST = b"Host: node\r\n"
BEHIND = b"GET /behind HTTP/1.1\r\nHost: node\r\n\r\n"

METHODS = st.sampled_from(
    [b"GET"] * 5 + [b"POST", b"HEAD", b"OPTIONS", b"PUT", b"CONNECT", b"get", b"", b"PRI", b"SOURCE"]
)
TARGETS = st.sampled_from(
    [b"/"] * 10
    + [
        b"/",
        b"/a?b=c#d",
        b"//a",
        b"/%00",
        b"/[",
        b"*",
        b"a:80",
        b"http://a/b",
        b"http://[::1/",
        b"http:///a",
        b"a",
        b"?",
        b"",
        b"/a\nX:y",
        b"/a\tb",
    ]
)
VERSIONS = st.sampled_from([b"HTTP/1.1"] * 20 + [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"RTSP/1.0", b"", b"http/1.1"])
NAMES = st.sampled_from(
    [
        b"Host",
        b"Content-Length",
        b"content-length",
        b"Content-Length ",
        b" Content-Length",
        b"Transfer-Encoding",
        b"Connection",
        b"Upgrade",
        b"Expect",
        b"Content-Type",
        b"Content-Encoding",
        b"Sec-WebSocket-Key1",
        b"X",
        b"",
        b"X\0",
    ]
)
VALUES = st.sampled_from(
    [
        b"",
        b"3",
        b"3 ",
        b"\t3",
        b"003",
        b"0",
        b"+3",
        b"-1",
        b"3, 3",
        b"3\r\n 4",
        b"3\n",
        b"3\r",
        b"3\0",
        b"9" * 19,
        b"9" * 20,
        b"chunked",
        b"Chunked ",
        b"gzip, chunked",
        b"chunked, chunked",
        b"chunked, gzip",
        b"xchunked",
        b"chunked;a=b",
        b"gzip,",
        b"close",
        b"keep-alive",
        b"upgrade",
        b"websocket",
        b"h2c",
        b"100-continue",
        b"\xff",
        "é".encode(),
    ]
)
ENDS = st.sampled_from([b"\r\n"] * 20 + [b"\n", b"\r", b"\r\r\n", b"\r\n\r\n"])


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    line = b" ".join([draw(METHODS), draw(TARGETS), draw(VERSIONS)]) + draw(ENDS)
    fields = draw(st.lists(st.tuples(NAMES, VALUES, ENDS), max_size=4))
    host = draw(st.sampled_from([HOST, HOST, HOST, b""]))
    return line + host + b"".join([name + b": " + value + end for name, value, end in fields]) + b"\r\n"


def read(data: bytes, *cuts: int) -> Head | int:
    """The head, or the status of its refusal, or 0 when its end is missing. It comes in pieces that end at ``cuts``."""
    reader = HeadReader(LIMITS)
    head = None
    try:
        for size in [*(cut for cut in cuts if cut < len(data)), len(data)]:
            if (head := reader.read(data[:size])) is not None:
                return head
    except HttpProblem as problem:
        return problem.status
    return 0


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def body(head: Head) -> bytes:
    return b"3\r\nabc\r\n0\r\n\r\n" if head.body_bytes == CHUNKED else bytes(head.body_bytes)


@given(data=heads())
@example(data=b"POST / HTTP/1.1\r\nHost: node\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n")
@example(data=b"CONNECT /[ HTTP/1.1\r\nHost: node\r\n\r\n")
@example(data=b"POST / HTTP/1.1\r\nHost: node\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n")
@example(data=b"POST / HTTP/1.1\r\nHost: node\r\nUpgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 3\r\n\r\n")
@example(
    data=b"POST / HTTP/1.1\r\nHost: node\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 3\r\n\r\n"
)
def test_the_library_reads_the_same_in_a_head_that_is_taken(loop: asyncio.AbstractEventLoop, data: bytes) -> None:
    head = read(data)
    if isinstance(head, int) or head.body_bytes > 1000:
        return
    data = data[: head.size]
    parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16, auto_decompress=False)
    # In steps, as the library is given them: it never sees what comes behind before a request is answered.
    messages, upgraded, tail = parser.feed_data(data)
    ((message, payload),) = messages
    if not payload.is_eof():
        assert not upgraded
        more, upgraded, tail = parser.feed_data(body(head))
        assert not more
    assert payload.is_eof()
    assert tail == b""
    if upgraded:
        parser.set_upgraded(False)
    assert (message.method, message.path, message.headers) == (head.method, head.target, head.headers)
    assert payload.total_bytes == (3 if head.body_bytes == CHUNKED else head.body_bytes)
    if head.is_plain:
        assert (message.version, message.should_close, message.chunked) == ((1, 1), False, False)
    if not message.should_close:
        ((behind, _),) = parser.feed_data(BEHIND)[0]
        assert behind.path == "/behind"


@given(data=heads(), cuts=st.lists(st.integers(1, 200), max_size=4))
def test_a_head_in_pieces_is_what_it_is_as_a_whole(data: bytes, cuts: list[int]) -> None:
    whole = read(data)
    if not whole:
        return
    head = read(data, *sorted(cuts))
    if not isinstance(head, Head) or not isinstance(whole, Head):
        assert head == whole
        return
    assert (head.size, head.method, head.target, head.headers) == (
        whole.size,
        whole.method,
        whole.target,
        whole.headers,
    )
    assert (head.body_bytes, head.is_plain) == (whole.body_bytes, whole.is_plain)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\nHost: node\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: node\nX: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : node\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: node\r\nX: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: node\r\nX: \0\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: node\r\n\r\n",
        b"GET /text\nX:y HTTP/1.1\r\nHost: node\r\n\r\n",
        b"GET /\r\nX:y HTTP/1.1\r\nHost: node\r\n\r\n",
        b"GET  HTTP/1.1\r\nHost: node\r\n\r\n",
        b"CONNECT  HTTP/1.1\r\nHost: node\r\n\r\n",
        b"CONNECT HTTP/1.1\r\nHost: node\r\n\r\n",
        b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: node\r\nContent-Length: 3\r\n\r\n",
        b"\n\r\nGET / HTTP/1.1\r\nHost: node\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: node\r\nHost: other\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: node\r\nContent-Length: " + b"9" * 20 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_what_two_readers_could_understand_differently_is_refused(data: bytes) -> None:
    assert read(data) == 400


def test_a_head_is_bounded_as_a_whole_though_each_of_its_lines_is_short() -> None:
    line = b"X: " + b"a" * 8000 + b"\r\n"
    beginning = b"GET / HTTP/1.1\r\n" + HOST
    within = beginning + line * 4
    assert len(within) < MAX_HEAD_BYTES
    assert isinstance(read(within + b"\r\n"), Head)
    assert read(within + line) == 431
    assert read(within + line + b"\r\n") == 431


def test_a_line_is_bounded_before_its_end_is_there() -> None:
    assert read(b"GET /" + b"a" * LIMITS.line_bytes) == 431
    assert read(b"GET / HTTP/1.1\r\n" + b"a" * (LIMITS.line_bytes + 1)) == 431
    assert read(b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * (LIMITS.fields + 2)) == 400


@pytest.mark.parametrize("piece", [1, 100])
@pytest.mark.parametrize("long", [LIMITS.line_bytes, LIMITS.line_bytes + 1])
def test_a_line_behind_others_is_bounded_though_it_comes_in_pieces(piece: int, long: int) -> None:
    data = b"GET / HTTP/1.1\r\n" + HOST + (b"X: %b\r\n" % (b"a" * 5000)) * 2
    data += b"X: %b\r\n\r\n" % (b"a" * (long - len("X: ")))
    head = read(data, *range(piece, len(data), piece))
    assert isinstance(head, Head) if long == LIMITS.line_bytes else head == 431


def test_only_a_request_that_asks_for_nothing_more_is_plain() -> None:
    post = b"POST / HTTP/1.1\r\n" + HOST
    for fields, is_plain in [
        (b"", True),
        (b"Content-Length: 3\r\n", True),
        (b"Connection: Keep-Alive\r\n", True),
        (b"Connection: close\r\n", False),
        (b"Connection: keep-alive, upgrade\r\nUpgrade: h2c\r\n", False),
        (b"Connection: keep-alive\r\nExpect: 100-continue\r\n", False),
        (b"Expect: 100-continue\r\n", False),
        (b"Content-Encoding: gzip\r\n", False),
        (b"Proxy-Connection: close\r\n", False),
        (b"Transfer-Encoding: chunked\r\n", False),
    ]:
        head = read(post + fields + b"\r\n")
        assert isinstance(head, Head)
        assert head.is_plain is is_plain
    old = read(post.replace(b"1.1", b"1.0") + b"\r\n")
    assert isinstance(old, Head)
    assert not old.is_plain


@pytest.mark.parametrize(
    ("data", "rest"),
    [
        (b"GET", b"GET"),
        (b"\r\nGET", b"GET"),
        (b"\r\n" * 7 + b"GET", b"GET"),
        (b"\r\n\r", b"\r"),
        (b"\r", b"\r"),
        (b"\r\n", b""),
        (b"", b""),
        (b"\r\n\n", b"\n"),
        (b"\r\n\rGET", b"\rGET"),
    ],
)
def test_empty_lines_between_requests_belong_to_none(data: bytes, rest: bytes) -> None:
    behind = b"GET" + data
    assert behind[behind_empty_lines(behind, 3) :] == rest


@pytest.mark.parametrize("data", [b"\rGET", b"\r\r\nGET", b"\n", b"\n\r\nGET"])
def test_half_of_an_empty_line_is_refused(data: bytes) -> None:
    assert read(data) == 400
