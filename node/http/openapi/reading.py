"""The routes by which every node serves its log."""

from typing import Final

from node.http.openapi.parts import OFFSET, Json, Problem, answer, content, header, query, ref, refusals, text, whole
from node.http.openapi.problems import LOG_HEADERS, ONLY_ON_MASTER, OUTCOME, REACHED_BY, READ, RETRY_AFTER, connection
from node.http.openapi.schemas import SECONDS, W_IN_WORDS
from node.http.reading.listing import DEFAULT_LIMIT, MAX_LIMIT
from node.http.reading.query import COMMITTED, DEFAULT_TIMEOUT_S, LOCAL, MAX_OFFSET

_FROM: Final = query(
    "from",
    "The first offset; negative: so many before the end. By default all, or, of events, those to come.",
    {"type": "integer", "minimum": -MAX_OFFSET, "maximum": MAX_OFFSET},
)
_WAITING: Final = (
    query(
        "consistency",
        "Show all, or only what a majority is known to hold.",
        {"enum": [LOCAL, COMMITTED], "default": LOCAL},
    ),
    query("min_offset", "Wait until this record can be shown, `timeout` at most.", OFFSET),
    query("timeout", "Seconds.", {**SECONDS, "default": DEFAULT_TIMEOUT_S}),
)
_PERHAPS: Final = tuple(f"{name.rstrip('?')}?" for name in LOG_HEADERS)
"""The answer to a request with ``w`` says nothing of the log as a whole."""

LIST_SEED: Final[Json] = {
    "operationId": "listSeed",
    "tags": ["reading"],
    "summary": "All messages, in the course's form: as text joined by a comma and a line's end, or as JSON",
    "responses": {
        "200": answer("All messages", content(text=text(), json=ref("SeedPage"))),
        **refusals(connection(None), {503: READ[503]}),
    },
}

LIST_MESSAGES: Final[Json] = {
    "operationId": "list",
    "tags": ["reading"],
    "summary": "Records: a page in JSON, any number in NDJSON, or, as events, those that are there and those to come",
    "description": "Events have the record's offset as id. They begin after Last-Event-ID, or at `from`; `limit` is "
    "not for them.",
    "parameters": [
        _FROM,
        query(
            "limit",
            f"At most so many: of JSON {DEFAULT_LIMIT} by default and {MAX_LIMIT} at most, of NDJSON all by default.",
            whole(least=1, maximum=MAX_OFFSET),
        ),
        *_WAITING,
        header("Last-Event-ID", "The last event seen; for events only.", text(pattern="^(-1|[0-9]{1,18})$")),
    ],
    "responses": {
        "200": answer(
            "Records",
            content(json=ref("Page"), ndjson=text("a Record in each line"), events=text("a Record in each event")),
            (*LOG_HEADERS, "X-Accel-Buffering?"),
        ),
        **refusals(
            connection(None), READ, {400: [Problem(["invalid-from", "invalid-limit", "invalid-last-event-id"], "no")]}
        ),
    },
}

GIVE_MESSAGE: Final[Json] = {
    "operationId": "read",
    "tags": ["reading"],
    "summary": "One record; or, with w, wait until w nodes have it on disk",
    "description": "With `w`, which only the master takes, the answer says who has the record, and `timeout` is 60 by "
    "default; `consistency` and `min_offset` are not for that.",
    "parameters": [
        {"name": "offset", "in": "path", "required": True, "schema": OFFSET},
        query("w", "Wait for this write concern.", W_IN_WORDS),
        *_WAITING,
        header("If-None-Match", "The ETag of what is known.", text(pattern='^("[0-9a-f]{32}-[0-9]+"|\\*)$')),
    ],
    "responses": {
        "200": answer(
            "The record, or who has it",
            content(json={"oneOf": [ref("Record"), ref("Outcome")]}),
            (*_PERHAPS, "ETag?"),
        ),
        "304": answer("Known already", headers=("ETag", *LOG_HEADERS)),
        **refusals(
            connection(None),
            READ,
            ONLY_ON_MASTER,
            {
                400: [Problem(["invalid-w"], "no", sometimes={"nodes": whole(least=1)})],
                404: [
                    Problem(["no-such-record"], "no", fields={"end_offset": OFFSET}, headers=_PERHAPS),
                    Problem(["not-found"], "no"),
                ],
                504: [
                    Problem(
                        ["write-concern-timeout"],
                        "safe",
                        "yes",
                        {**OUTCOME, **REACHED_BY},
                        headers=("Location",),
                    )
                ],
            },
        ),
    },
}

GIVE_BATCHES: Final[Json] = {
    "operationId": "readBatches",
    "tags": ["reading"],
    "summary": "The stored batches from an offset on, byte for byte; for a master that is restored",
    "parameters": [query("from", "An offset within the first batch.", {**OFFSET, "default": 0})],
    "responses": {
        "200": answer("As many as one delivery holds; nothing at the end", content(bytes=text(format="binary"))),
        **refusals(
            connection(None),
            {
                400: [Problem(["unknown-parameter", "repeated-parameter", "invalid-from"], "no")],
                503: [Problem(["overloaded"], "safe", headers=RETRY_AFTER)],
            },
        ),
    },
}
