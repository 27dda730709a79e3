"""Which form of an answer a client wants."""

import pytest
from aiohttp.test_utils import make_mocked_request

from infra.http.accept import preferred

OFFERED = ("application/json", "application/x-ndjson", "text/event-stream")


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/html", "application/json"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("Text/Event-Stream", "text/event-stream"),
        ("application/json, text/event-stream", "application/json"),
        ("application/x-ndjson, */*", "application/x-ndjson"),
        ("text/event-stream;q=0.5, application/*", "application/json"),
        ("*/*;q=0.1, text/event-stream; q=0.9", "text/event-stream"),
        ("application/json;q=0, application/x-ndjson;q=0.001", "application/x-ndjson"),
        ("text/event-stream;q=nonsense", "application/json"),
        ("application/x-ndjson;charset=utf-8", "application/x-ndjson"),
        (",;,;q=1,", "application/json"),
    ],
)
def test_it_is_the_one_that_accept_likes_best(accept: str | None, wanted: str) -> None:
    request = make_mocked_request("GET", "/messages", {} if accept is None else {"Accept": accept})
    assert preferred(request, OFFERED) == wanted
