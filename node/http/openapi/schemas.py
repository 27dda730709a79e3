"""The bodies of requests, and those of answers that are no problems."""

from typing import Final

from node.http.openapi.parts import OFFSET, Json, array, obj, ref, text, whole
from node.http.openapi.problems import MANY, OUTCOME
from node.settings import MAX_DELAY_S
from replicated_log.master.progress import Health
from replicated_log.wire.batch import MAX_MESSAGE_BYTES
from replicated_log.wire.delivery import DIVERGED, FOLLOWING, JOINING

MESSAGE: Final = text(f"at most {MAX_MESSAGE_BYTES} bytes of UTF-8", minLength=1, maxLength=MAX_MESSAGE_BYTES)
SECONDS: Final[Json] = {"type": "number", "exclusiveMinimum": 0, "maximum": 3600}
PROBABILITY: Final[Json] = {"type": "number", "minimum": 0, "maximum": 1}
W_IN_WORDS: Final = text(pattern="^(0*[1-9][0-9]*|majority|all)$")
W: Final[Json] = {
    "description": "how many configured nodes, master included, must have the records on disk; at most all of them",
    "anyOf": [whole(least=1), W_IN_WORDS],
}
_NAME: Final = text("a node's name")
_SINCE: Final[Json] = {"type": ["number", "null"], "minimum": 0}
_LOG_ID: Final = text(pattern="^[0-9a-f]{32}$")

_SEEN: Final = obj(
    {
        "name": _NAME,
        "state": {"enum": [health.value for health in Health]},
        "acked_end": OFFSET,
        "lag": {"type": "integer"},
        "last_seen_s": _SINCE,
    }
)
_NODE: Final[dict[str, Json]] = {
    "name": _NAME,
    "log": text("the log's name"),
    "epoch": whole(),
    "end_offset": OFFSET,
    "committed_end": OFFSET,
    "disk_full": {"type": "boolean"},
    "broker": {"enum": ["connected", "disconnected"]},
    "poison": whole("deliveries that were dropped, for they make no sense"),
}

SCHEMAS: Final[dict[str, Json]] = {
    "Append": obj({"message": MESSAGE, "w": W, "timeout": {**SECONDS, "default": 60}}, optional=["w", "timeout"]),
    "SeedAppend": {
        "type": "object",
        "description": "Other fields are let pass. Any number is a w: it is clamped to 1..n.",
        "properties": {
            "message": MESSAGE,
            "w": {"anyOf": [{"type": "integer"}, text(pattern="^(-?[0-9]+|majority|all)$")]},
            "timeout": {**SECONDS, "default": 60},
        },
        "required": ["message"],
    },
    "Outcome": obj(OUTCOME),
    "OutcomeOfMany": obj({**MANY, **OUTCOME}),
    "Record": obj(
        {
            "offset": OFFSET,
            "epoch": whole("of the reign in which it was appended", least=1),
            "time": text("when it was appended, by the master's clock", format="date-time"),
            "message": MESSAGE,
        }
    ),
    "Page": obj({"messages": array(ref("Record")), "end_offset": OFFSET, "committed_end": OFFSET}),
    "SeedPage": obj({"messages": array(MESSAGE)}),
    "MasterStatus": obj(
        {
            **_NODE,
            "role": {"const": "master"},
            "log_id": _LOG_ID,
            "reign_id": text(),
            "nodes": whole("configured nodes, master included", least=1),
            "read_only": {"type": ["string", "null"], "description": "why this master must not append"},
            "waiting": whole("appends that wait, for the disk or for copies"),
            "secondaries": array(_SEEN),
            "observers": array(_SEEN),
        }
    ),
    "SecondaryStatus": obj(
        {
            **_NODE,
            "role": {"const": "secondary"},
            "log_id": {"anyOf": [_LOG_ID, {"type": "null"}]},
            "acked_end": OFFSET,
            "lag": whole(),
            "state": {"enum": [JOINING, FOLLOWING, DIVERGED]},
            "counts": {"type": "object", "additionalProperties": whole()},
        }
    ),
    "Health": obj(
        {
            "alive": whole(least=1),
            "majority": whole(least=1),
            "nodes": whole(least=1),
            "read_only": {"type": ["string", "null"]},
            "secondaries": {
                "type": "object",
                "additionalProperties": {"enum": [health.value for health in Health]},
            },
        }
    ),
    "Simulation": obj(
        {
            "ack_delay_s": {"type": "number", "minimum": 0, "maximum": MAX_DELAY_S, "default": 0},
            "ack_jitter_s": {"type": "number", "minimum": 0, "maximum": MAX_DELAY_S, "default": 0},
            "persist_delay_s": {"type": "number", "minimum": 0, "maximum": MAX_DELAY_S, "default": 0},
            "drop_ack_probability": {**PROBABILITY, "default": 0},
            "repeat_ack_probability": {**PROBABILITY, "default": 0},
        },
        optional=[
            "ack_delay_s",
            "ack_jitter_s",
            "persist_delay_s",
            "drop_ack_probability",
            "repeat_ack_probability",
        ],
    ),
}
