"""The error table of POST /messages, POST / and GET /messages/{offset}?w=, one test for each row.

The master has two secondaries that are not there, and no broker: w=1 is reached, more is not.
"""

import asyncio
import gzip
import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, Final

import pytest

from infra.broker.free_ports import free_ports
from tests.cluster import PATIENCE_S, Cluster, Node, eventually

JSON: Final = {"Content-Type": "application/json"}
TEXT: Final = {"Content-Type": "text/plain"}
LINES: Final = {"Content-Type": "application/x-ndjson"}
MIB: Final = 1 << 20
FIRST: Final = {**JSON, "Idempotency-Key": "first"}


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A master with one record in its log."""
    (no_broker,) = free_ports(1)
    directory = tmp_path_factory.mktemp("refused")
    master = Cluster(f"amqp://guest:guest@127.0.0.1:{no_broker}/", directory, {"node1": {}, "node2": {}}).master

    async def is_appended() -> bool:
        return ask(master, "POST", "/messages", b'{"message": "first", "w": 1}', FIRST)[0] == 201

    master.start()
    asyncio.run(eventually(is_appended, "the master appends"))
    yield master
    assert master.stop() == 0
    assert "Traceback" not in master.logged()


def ask(master: Node, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, Any, Any]:
    """Status, headers, and the JSON of the answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", master.port, PATIENCE_S)) as connection:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        return response.status, response.headers, json.loads(response.read())


def post(name: str, body: bytes, headers: Mapping[str, str], status: int, code: str, path: str = "/messages") -> Any:
    return pytest.param("POST", path, body, headers, (status, code, "no", "no"), id=name)


def post_json(name: str, body: bytes, status: int, code: str) -> Any:
    return post(f"json: {name}", body, JSON, status, code)


def post_lines(name: str, body: bytes, status: int, code: str) -> Any:
    return post(f"lines: {name}", body, LINES, status, code)


def query(name: str, query: str, code: str) -> Any:
    return post(f"query: {name}", b"text", TEXT, 400, code, f"/messages?{query}")


def headers(name: str, headers: Mapping[str, str], status: int, code: str) -> Any:
    return post(f"header: {name}", b"text", {**TEXT, **headers}, status, code)


def seed(name: str, body: bytes, headers: Mapping[str, str], status: int, code: str) -> Any:
    return post(f"seed: {name}", body, headers, status, code, "/")


def wait(name: str, path: str, status: int, code: str, appended: str | None, retry: str) -> Any:
    return pytest.param("GET", path, b"", {}, (status, code, appended, retry), id=f"wait: {name}")


REFUSED = [
    post_json("no JSON", b"nonsense", 400, "not-json"),
    post_json("nothing", b"", 400, "not-json"),
    post_json("two values", b'{"message": "m"} {}', 400, "not-json"),
    post_json("byte order mark", b'\xef\xbb\xbf{"message": "m"}', 400, "not-json"),
    post_json("NaN", b'{"message": "m", "timeout": NaN}', 400, "not-json"),
    post_json("a number of ten thousand digits", b'{"message": "m", "w": %s}' % (b"1" * 10_000), 400, "not-json"),
    post_json("raw control character", b'{"message": "\n"}', 400, "not-json"),
    post_json("deeply nested", b"[" * 100_000, 400, "not-json"),
    post_json("bomb of arrays", b"[%s[]]" % (b"[]," * 2_000_000), 400, "not-json"),
    post_json("bomb of fields", b'{%s"b":1}' % (b'"a":1,' * 1_000_000), 400, "not-json"),
    post_json("not UTF-8", b'{"message": "\xff"}', 400, "not-utf-8"),
    post_json("array", b"[]", 400, "not-an-object"),
    post_json("text", b'"message"', 400, "not-an-object"),
    post_json("no message", b"{}", 400, "no-message"),
    post_json("message no text", b'{"message": 1}', 400, "invalid-message"),
    post_json("message null", b'{"message": null}', 400, "invalid-message"),
    post_json("message nested", b'{"message": {"message": "m"}}', 400, "invalid-message"),
    post_json("lone surrogate", b'{"message": "\\ud800"}', 400, "invalid-message"),
    post_json("empty message", b'{"message": ""}', 400, "empty-message"),
    post_json("unknown field", b'{"message": "m", "timeuot": 1}', 400, "unknown-field"),
    post_json("unknown field, a lone surrogate", b'{"message": "m", "\\ud800": 1}', 400, "unknown-field"),
    post_json("field twice", b'{"message": "m", "w": 1, "message": "n"}', 400, "repeated-field"),
    post_json("field twice, escaped", b'{"message": "m", "w": 1, "\\u0077": 2}', 400, "repeated-field"),
    post_json("w 0", b'{"message": "m", "w": 0}', 400, "invalid-w"),
    post_json("w over n", b'{"message": "m", "w": 4}', 400, "invalid-w"),
    post_json("w huge", b'{"message": "m", "w": %s}' % (b"9" * 4000), 400, "invalid-w"),
    post_json("w fractional", b'{"message": "m", "w": 1.0}', 400, "invalid-w"),
    post_json("w true", b'{"message": "m", "w": true}', 400, "invalid-w"),
    post_json("w null", b'{"message": "m", "w": null}', 400, "invalid-w"),
    post_json("w list", b'{"message": "m", "w": [1]}', 400, "invalid-w"),
    post_json("w nonsense", b'{"message": "m", "w": "most"}', 400, "invalid-w"),
    post_json("timeout 0", b'{"message": "m", "timeout": 0}', 400, "invalid-timeout"),
    post_json("timeout too long", b'{"message": "m", "timeout": 3600.1}', 400, "invalid-timeout"),
    post_json("timeout infinite", b'{"message": "m", "timeout": 1e999}', 400, "invalid-timeout"),
    post_json("timeout text", b'{"message": "m", "timeout": "1"}', 400, "invalid-timeout"),
    post_json("timeout true", b'{"message": "m", "timeout": true}', 400, "invalid-timeout"),
    post_json("timeout null", b'{"message": "m", "timeout": null}', 400, "invalid-timeout"),
    post_json("long message", b'{"message": "%s"}' % (b"x" * (MIB + 1)), 413, "message-too-large"),
    post_json("long body", b'{"message": "%s"}' % (b"x" * 8 * MIB), 413, "body-too-large"),
    post("JSON has no query", b'{"message": "m"}', JSON, 400, "unknown-parameter", "/messages?w=1"),
    post("no type", b"text", {}, 415, "unsupported-media-type"),
    post("form", b"text", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported-media-type"),
    post("odd type", b"text", {"Content-Type": ";;=,"}, 415, "unsupported-media-type"),
    post(
        "charset",
        b'{"message": "m"}',
        {"Content-Type": "application/json; charset=latin-1"},
        415,
        "unsupported-charset",
    ),
    post("odd charset", b"text", {"Content-Type": 'text/plain; charset="\xe9'}, 415, "unsupported-charset"),
    post("gzip", gzip.compress(b"text"), {**TEXT, "Content-Encoding": "gzip"}, 415, "unsupported-encoding"),
    post("text: empty", b"", TEXT, 400, "empty-message"),
    post("text: not UTF-8", b"\xff", TEXT, 400, "not-utf-8"),
    post("text: surrogate in UTF-8", b"\xed\xa0\x80", TEXT, 400, "not-utf-8"),
    post("text: long message", b"x" * (MIB + 1), TEXT, 413, "message-too-large"),
    query("unknown parameter", "w=1&wait=1", "unknown-parameter"),
    query("unknown parameter, escaped", "%ff%00=1", "unknown-parameter"),
    query("parameter twice", "w=1&w=1", "repeated-parameter"),
    query("w empty", "w=", "invalid-w"),
    query("w over n", "w=4", "invalid-w"),
    query("w negative", "w=-1", "invalid-w"),
    query("w not ASCII", "w=%D9%A1", "invalid-w"),
    query("timeout empty", "w=1&timeout=", "invalid-timeout"),
    query("timeout 0", "w=1&timeout=0", "invalid-timeout"),
    query("timeout too long", "w=1&timeout=3601", "invalid-timeout"),
    query("timeout nonsense", "w=1&timeout=nan", "invalid-timeout"),
    post_lines("nothing", b"", 400, "no-message"),
    post_lines("one blank line", b"\n", 400, "no-message"),
    post_lines("blank line", b'"a"\n\n"b"\n', 400, "no-message"),
    post_lines("no JSON", b'"a"\nb\n', 400, "not-json"),
    post_lines("array", b'["a"]\n', 400, "invalid-message"),
    post_lines("number", b"1", 400, "invalid-message"),
    post_lines("empty message", b'"a"\n""', 400, "empty-message"),
    post_lines("no message", b"{}\n", 400, "no-message"),
    post_lines("unknown field", b'{"message": "m", "w": 1}\n', 400, "unknown-field"),
    post_lines("field twice", b'{"message": "m", "message": "m"}\n', 400, "repeated-field"),
    post_lines("lone surrogate", b'"a"\n"\\udfff"\n', 400, "invalid-message"),
    post_lines("long message", b'"%s"' % (b"x" * (MIB + 1)), 413, "message-too-large"),
    post_lines("too many", b'"a"\n' * 10_001, 413, "batch-too-large"),
    post_lines("too large", b'"%s"\n' % (b"x" * MIB) * 4, 413, "batch-too-large"),
    post_lines("long body", b'"a"\n' * 7 * MIB, 413, "body-too-large"),
    headers("empty key", {"Idempotency-Key": ""}, 400, "invalid-idempotency-key"),
    headers("long key", {"Idempotency-Key": "k" * 256}, 400, "invalid-idempotency-key"),
    headers("key not ASCII", {"Idempotency-Key": "\xe9"}, 400, "invalid-idempotency-key"),
    headers("key with a tab", {"Idempotency-Key": "a\tb"}, 400, "invalid-idempotency-key"),
    headers("key of another append", {"Idempotency-Key": "first"}, 422, "key-reused"),
    headers("key of another append and the end", {"Idempotency-Key": "first", "If-Match": '"0"'}, 422, "key-reused"),
    headers("end that was", {"If-Match": '"0"'}, 412, "end-mismatch"),
    headers("end to come", {"If-Match": '"9999999999999999999"'}, 412, "end-mismatch"),
    headers("end without quotes", {"If-Match": "1"}, 400, "invalid-if-match"),
    headers("end with a zero before it", {"If-Match": '"01"'}, 400, "invalid-if-match"),
    headers("end, any", {"If-Match": "*"}, 400, "invalid-if-match"),
    headers("end, weak", {"If-Match": 'W/"1"'}, 400, "invalid-if-match"),
    headers("end, one of two", {"If-Match": '"1", "2"'}, 400, "invalid-if-match"),
    headers("end, none", {"If-Match": ""}, 400, "invalid-if-match"),
    headers("expectation", {"Expect": "a miracle"}, 417, "expectation-failed"),
    seed("nothing", b"", TEXT, 400, "empty-message"),
    seed("only w", b"w=1", TEXT, 400, "empty-message"),
    seed("not UTF-8", b"\xff", TEXT, 400, "not-utf-8"),
    seed("w nonsense", b'{"message": "m", "w": "most"}', JSON, 400, "invalid-w"),
    seed("message no text", b'{"message": ["m"]}', JSON, 400, "invalid-message"),
    seed("field twice", b'{"message": "m", "message": "n"}', JSON, 400, "repeated-field"),
    seed("form", b"message=m", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported-media-type"),
    seed("key of another append", b"text", {**TEXT, "Idempotency-Key": "first"}, 422, "key-reused"),
    seed("end that was", b"text", {**TEXT, "If-Match": '"0"'}, 412, "end-mismatch"),
    post("no such path", b"", TEXT, 404, "not-found", "/nowhere"),
    post("no such method", b"", TEXT, 405, "method-not-allowed", "/status"),
    pytest.param("PATCH", "/messages", b"", {}, (405, "method-not-allowed", "no", "no"), id="patch"),
    pytest.param("DELETE", "/messages/0", b"", {}, (405, "method-not-allowed", "no", "no"), id="delete"),
    wait("no such record", "/messages/1?w=1", 404, "no-such-record", None, "no"),
    wait("no such offset", f"/messages/{'9' * 5000}?w=1", 404, "no-such-record", None, "no"),
    wait("w over n", "/messages/0?w=4", 400, "invalid-w", None, "no"),
    wait("timeout 0", "/messages/0?w=1&timeout=0", 400, "invalid-timeout", None, "no"),
    wait("unknown parameter", "/messages/0?w=1&min_offset=0", 400, "unknown-parameter", None, "no"),
    wait("not reached", "/messages/0?w=2&timeout=0.1", 504, "write-concern-timeout", "yes", "safe"),
]


@pytest.mark.parametrize(("method", "path", "body", "sent", "expected"), REFUSED)
def test_it_is_refused_with_a_problem_that_tells_what_became_of_it_and_nothing_is_appended(
    master: Node, method: str, path: str, body: bytes, sent: Mapping[str, str], expected: tuple[int, str, str, str]
) -> None:
    status, headers, problem = ask(master, method, path, body, sent)
    assert (status, problem["code"], problem.get("appended"), problem["retry"]) == expected
    assert headers["Content-Type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["type"] == f"urn:replog:problem:{problem['code']}"
    assert problem["title"]
    assert problem["detail"]
    assert ask(master, "GET", "/status", b"", {})[2]["end_offset"] == 1


def test_a_fault_in_one_of_many_lines_is_told_with_its_line(master: Node) -> None:
    _, _, problem = ask(master, "POST", "/messages", b'"a"\n"b"\n{"massage": "c"}\n', LINES)
    assert (problem["code"], problem["line"]) == ("unknown-field", 3)
    assert problem["detail"] == "line 3: unknown field 'massage'"


def test_the_end_that_the_log_has_is_told_to_who_expected_another(master: Node) -> None:
    assert ask(master, "POST", "/messages", b"text", {**TEXT, "If-Match": '"7"'})[2]["end_offset"] == 1
