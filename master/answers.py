"""The answer to an append: its body, which is JSON, and its headers."""

import json
from functools import lru_cache
from typing import Any

from master.outcome import ReplicationResult, ms_between
from master.requests import JSON, Concern


def outcome(result: ReplicationResult, concern: Concern) -> dict[str, Any]:
    """The write concern that was asked for, and who holds what was appended. ``offset`` is that of the first record."""
    return {
        "offset": result.offset,
        "epoch": result.epoch,
        "w": concern.w,
        "write_concern": concern.asked,
        "acks": [{"node": name, "ms": None if ms is None else round(ms, 3)} for name, ms in result.held_by],
        "elapsed_ms": round(result.elapsed_ms, 3),
    }


def outcome_json(result: ReplicationResult, concern: Concern) -> str:
    """As :func:`outcome`, but JSON already, in a fifth of the time: most answers are made here."""
    started = result.started
    acks = ", ".join(
        [
            f'{{"node": {_quoted(name)}, "ms": {"null" if since is None else f"{ms_between(started, since):.3f}"}}}'
            for name, since in result.holders.since
        ]
    )
    return (
        f'{{"offset": {result.offset}, "epoch": {result.epoch}, "w": {concern.w}, '
        f'"write_concern": {_quoted(concern.asked)}, "acks": [{acks}], "elapsed_ms": {result.elapsed_ms:.3f}}}'
    )


def headers(result: ReplicationResult) -> dict[str, str]:
    """Where the (first) record is, and whether an earlier append put it there; the content type is not among them."""
    where = {"Location": f"/messages/{result.offset}"}
    return {**where, "Idempotent-Replayed": "true"} if result.replayed else where


def header_lines(result: ReplicationResult) -> str:
    """As :func:`headers`, but lines, and with the content type of JSON, in a quarter of the time."""
    replayed = "Idempotent-Replayed: true\r\n" if result.replayed else ""
    return f"Content-Type: {JSON}\r\nLocation: /messages/{result.offset}\r\n{replayed}"


@lru_cache(maxsize=64)
def _quoted(text: str) -> str:
    return json.dumps(text)
