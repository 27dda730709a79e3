"""POST /messages and POST /: appending, on the master."""

from typing import Final

from node.http.openapi.parts import Json, answer, content, header, query, ref, refusals, text
from node.http.openapi.problems import APPEND, APPEND_HEADERS, body, connection
from node.http.openapi.schemas import MESSAGE, SECONDS, W_IN_WORDS
from node.http.reading.query import MAX_OFFSET
from replicated_log.wire.batch import MAX_APPEND_BYTES, MAX_BATCH_RECORDS
from replicated_log.wire.idempotency import MAX_KEY_LENGTH

KEY: Final = header(
    "Idempotency-Key",
    "An append with the key of an earlier one, and the same messages, is that one: it is not appended again.",
    text(pattern="^[ -~]+$", minLength=1, maxLength=MAX_KEY_LENGTH),
)
IF_MATCH: Final = header(
    "If-Match",
    f"Append only if the log ends at this offset, which is written in quotes; at most {MAX_OFFSET}.",
    text(pattern='^"(0|[1-9][0-9]{0,18})"$'),
)
REFUSED: Final = (
    "no-message",
    "invalid-message",
    "empty-message",
    "invalid-w",
    "invalid-timeout",
    "invalid-idempotency-key",
    "invalid-if-match",
)
_CONCERN: Final = (
    query("w", "As the field w; not beside JSON.", W_IN_WORDS),
    query("timeout", "As the field timeout; not beside JSON.", {**SECONDS, "default": 60}),
)
_NODES: Final[Json] = {"type": "integer", "minimum": 1, "description": "how many nodes there are"}
_LINE: Final[Json] = {"type": "integer", "minimum": 1, "description": "the line at fault"}

POST_MESSAGES: Final[Json] = {
    "operationId": "append",
    "tags": ["writing"],
    "summary": "Append one message, or many at once, and wait until w nodes have them on disk",
    "description": f"Many are lines of NDJSON, each a JSON text or an object with `message`: at most "
    f"{MAX_BATCH_RECORDS} and {MAX_APPEND_BYTES} bytes; all are appended, or none. The write concern "
    "stands in the JSON object, or in the query of the other two forms. On the master.",
    "parameters": [*_CONCERN, KEY, IF_MATCH],
    "requestBody": {
        "required": True,
        "content": content(json=ref("Append"), text=MESSAGE, ndjson=text("lines", minLength=1)),
    },
    "responses": {
        "201": answer(
            "Appended, and on w nodes",
            content(json={"anyOf": [ref("Outcome"), ref("OutcomeOfMany")]}),
            APPEND_HEADERS,
        ),
        **refusals(
            connection("no"),
            body("no", *REFUSED, "unknown-parameter", "repeated-parameter", line=_LINE, nodes=_NODES),
            APPEND,
        ),
    },
}

POST_SEED: Final[Json] = {
    "operationId": "appendSeed",
    "tags": ["writing"],
    "summary": "Append one message in the course's form",
    "description": "The write concern stands in the JSON object, or as `w=2 ` before the text, also in JSON without a "
    "`w`; numbers are clamped to 1..n. On the master.",
    "parameters": [KEY, IF_MATCH],
    "requestBody": {
        "required": True,
        "content": content(json=ref("SeedAppend"), text=text("w=2 message", minLength=1)),
    },
    "responses": {
        "200": answer("Appended, and on w nodes", content(text=text(), json=ref("Outcome")), APPEND_HEADERS),
        **refusals(connection("no"), body("no", *REFUSED, nodes=_NODES), APPEND),
    },
}
