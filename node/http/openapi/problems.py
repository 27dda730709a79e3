"""The problems that requests may run into, for each kind of request."""

from typing import Final

from node.http.openapi.parts import OFFSET, Json, Problem, Problems, array, text, whole

RETRY_AFTER: Final = ("Retry-After",)
LOG_HEADERS: Final = ("Cache-Control", "Replog-End-Offset", "Replog-Epoch?", "Replog-Log-Id?")
APPEND_HEADERS: Final = ("Location", "Idempotent-Replayed?")

OUTCOME: Final[dict[str, Json]] = {
    "offset": {**OFFSET, "description": "of the (first) record"},
    "epoch": whole("of the records", least=1),
    "w": whole("the write concern as a number", least=1),
    "write_concern": text("the write concern as it was asked for"),
    "acks": array(
        {
            "type": "object",
            "description": "a node that has the records on disk, and milliseconds from the request until it had; "
            "null when nobody remembers",
            "properties": {"node": text(), "ms": {"type": ["number", "null"], "minimum": 0}},
            "required": ["node", "ms"],
            "additionalProperties": False,
        }
    ),
    "elapsed_ms": {"type": "number", "minimum": 0},
}
MANY: Final[dict[str, Json]] = {"first_offset": OFFSET, "count": whole("how many were appended", least=1)}
REACHED_BY: Final[dict[str, Json]] = {
    "acked": array(text("a node that has the records on disk")),
    "missing": array(text("a configured secondary that has not said so")),
}


def connection(appended: str | None) -> Problems:
    """The problems of any request before its route is known; a request that can't be read may have been an append."""
    return {
        400: [Problem(["bad-request"], "no", "no")],
        408: [Problem(["slow-header"], "safe", "no")],
        417: [Problem(["expectation-failed"], "no", appended)],
        431: [Problem(["header-too-large"], "no", "no")],
        500: [
            Problem(
                ["internal-error", "corrupt-log"], "same-key" if appended else "safe", "unknown" if appended else None
            )
        ],
        503: [Problem(["too-many-connections"], "safe", "no", headers=RETRY_AFTER)],
    }


def body(appended: str, *codes: str, **sometimes: Json) -> Problems:
    """The problems of a request with a body. ``codes`` are more reasons for 400."""
    return {
        400: [
            Problem(
                ["broken-body", "not-utf-8", "not-json", "not-an-object", "repeated-field", "unknown-field", *codes],
                "no",
                appended,
                sometimes=sometimes,
            )
        ],
        408: [Problem(["slow-body"], "safe", appended)],
        413: [Problem(["body-too-large"], "no", appended, {"most_bytes": whole()})],
        415: [Problem(["unsupported-media-type", "unsupported-charset", "unsupported-encoding"], "no", appended)],
        503: [Problem(["overloaded"], "safe", appended, headers=RETRY_AFTER)],
    }


APPEND: Final[Problems] = {
    403: [Problem(["not-the-master"], "no", "no")],
    412: [Problem(["end-mismatch"], "no", "no", {"end_offset": OFFSET})],
    413: [
        Problem(["message-too-large"], "no", "no", {"most_bytes": whole()}),
        Problem(["batch-too-large"], "no", "no", {"most_bytes": whole(), "most_messages": whole()}),
    ],
    422: [Problem(["key-reused"], "no", "no")],
    503: [Problem(["read-only"], "safe", "no")],
    504: [
        Problem(
            ["write-concern-timeout"],
            "same-key",
            "yes",
            {**OUTCOME, **REACHED_BY},
            sometimes=MANY,
            headers=APPEND_HEADERS,
        ),
        Problem(["commit-timeout"], "same-key", "unknown"),
    ],
    507: [Problem(["disk-full"], "safe", "no")],
}

READ: Final[Problems] = {
    400: [
        Problem(
            ["unknown-parameter", "repeated-parameter", "invalid-consistency", "invalid-min-offset", "invalid-timeout"],
            "no",
        )
    ],
    503: [Problem(["overloaded", "stopping"], "safe", headers=RETRY_AFTER)],
    504: [
        Problem(["not-there-yet"], "safe", fields={"end_offset": OFFSET, "committed_end": OFFSET}, headers=LOG_HEADERS)
    ],
}

ONLY_ON_MASTER: Final[Problems] = {403: [Problem(["not-the-master"], "no")]}
