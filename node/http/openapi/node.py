"""The routes by which a node tells of itself: status, health, metrics, and what a secondary simulates."""

from typing import Final

from node.http.openapi.parts import JSON, Json, Problem, Problems, answer, content, ref, refusals, text
from node.http.openapi.problems import ONLY_ON_MASTER, body, connection

_NOT_READY: Final = {
    503: [
        Problem(
            ["not-ready"],
            "safe",
            fields={"reason": {"enum": ["disk-full", "diverged", "joining", "no-master", "read-only", "stopping"]}},
        )
    ]
}
_MASTER_DOES_NOT: Final = ["not-a-secondary"]


def _shown(operation: str, summary: str, good: Json, *problems: Problems) -> Json:
    return {
        "operationId": operation,
        "tags": ["node"],
        "summary": summary,
        "responses": {"200": good, **refusals(connection(None), *problems)},
    }


STATUS: Final = _shown(
    "status",
    "Who the node is, and what it holds; on the master also who holds what",
    answer("The status", content(json={"oneOf": [ref("MasterStatus"), ref("SecondaryStatus")]})),
)
HEALTH: Final = _shown(
    "health",
    "How each secondary is doing, and whether the master may append; on the master",
    answer("The health of all", content(json=ref("Health"))),
    ONLY_ON_MASTER,
)
LIVE: Final = _shown(
    "live",
    "Whether the node answers at all",
    answer("It does", content(json={"const": {"live": True}})),
)
READY: Final = _shown(
    "ready",
    "Whether the master may append, or the secondary follows a master it hears",
    answer("It does", content(json={"const": {"ready": True}})),
    _NOT_READY,
)
METRICS: Final = _shown("metrics", "Numbers for Prometheus", answer("In its text format", content(text=text())))
OPENAPI: Final = _shown("openapi", "This document", answer("This document", {JSON: {"schema": {"type": "object"}}}))
SHOW_SIMULATION: Final = _shown(
    "showSimulation",
    "What a secondary simulates",
    answer("What it simulates", content(json=ref("Simulation"))),
    {403: [Problem(_MASTER_DOES_NOT, "no")]},
)
SIMULATE: Final[Json] = {
    "operationId": "simulate",
    "tags": ["node"],
    "summary": "Let a secondary simulate this, and nothing else: what is missing is 0",
    "description": "Only where REPLOG_ALLOW_SIMULATION is set. The seconds delay each ack, by chance the jitter more, "
    "and the writing to disk; the probabilities are those of an ack to be dropped, or sent twice. Acks keep their "
    "order, and never announce more than is on disk. Acks under way are delayed no longer than new ones.",
    "requestBody": {"required": True, "content": content(json=ref("Simulation"))},
    "responses": {
        "200": answer("What it simulates now", content(json=ref("Simulation"))),
        **refusals(
            connection("no"),
            body("no", "invalid-simulation"),
            {403: [Problem([*_MASTER_DOES_NOT, "simulation-not-allowed"], "no", "no")]},
        ),
    },
}
