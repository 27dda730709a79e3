"""Messages in the bodies of requests, one or many, checked: each a text that a log can hold."""

import asyncio
from collections.abc import Iterator
from typing import Any, Final

from aiohttp import web

from infra.http.bodies import MAX_BODY_BYTES, check_fields, parse_json, parse_json_lines, read_text
from infra.http.problems import HttpProblem
from replicated_log.wire.batch import MAX_APPEND_BYTES, MAX_BATCH_RECORDS, MAX_MESSAGE_BYTES, append_size

MAX_LINES_BYTES: Final = 6 * MAX_APPEND_BYTES
"""JSON may take six bytes for each byte of a message."""
TURN_CHARACTERS: Final = 256 << 10
"""So much of many lines is read before other requests get their turn."""


def message_in(body: dict[str, Any]) -> str:
    """The field ``message`` of a JSON object. Raises HttpProblem."""
    if "message" not in body:
        raise HttpProblem(400, "no-message", "the field 'message' is missing")
    message = body["message"]
    if not isinstance(message, str):
        raise HttpProblem(400, "invalid-message", "'message' must be a text")
    return message


def encoded(message: str) -> bytes:
    """The message in UTF-8. Raises HttpProblem when it is empty, too long, or no text that UTF-8 can carry."""
    if not message:
        raise HttpProblem(400, "empty-message", "the message is empty")
    try:
        data = message.encode()
    except UnicodeEncodeError as error:
        detail = f"the message has a lone surrogate at character {error.start}"
        raise HttpProblem(400, "invalid-message", detail) from error
    if len(data) > MAX_MESSAGE_BYTES:
        detail = f"the message has {len(data)} bytes; {MAX_MESSAGE_BYTES} are the most"
        raise HttpProblem(413, "message-too-large", detail, most_bytes=MAX_MESSAGE_BYTES)
    return data


async def read_lines(request: web.Request) -> list[bytes]:
    """The messages of an NDJSON body, each line a JSON text, or an object with nothing but ``message``.

    Raises HttpProblem, which names the ``line``, counted from 1.
    """
    lines = (await read_text(request, MAX_LINES_BYTES)).split("\n", MAX_BATCH_RECORDS + 1)
    if not lines[-1].strip():
        lines.pop()
    if not lines:
        raise HttpProblem(400, "no-message", "there is no line in the body")
    if len(lines) > MAX_BATCH_RECORDS:
        raise _too_large()
    messages: list[bytes] = []
    for part in _turns(lines):
        messages += _messages_at_once(part) or _messages_one_by_one(part, len(messages) + 1)
        await asyncio.sleep(0)
    return messages


def _turns(lines: list[str]) -> Iterator[list[str]]:
    """The lines, in parts that each end with the line that goes beyond TURN_CHARACTERS."""
    if lines and sum(map(len, lines)) <= TURN_CHARACTERS:
        yield lines
        return
    begin = size = 0
    for end, line in enumerate(lines, 1):
        size += len(line)
        if size > TURN_CHARACTERS:
            yield lines[begin:end]
            begin, size = end, 0
    if begin < len(lines):
        yield lines[begin:]


def _messages_at_once(lines: list[str]) -> list[bytes] | None:
    """The messages on the lines, several times as fast as one by one; None when there may be something to refuse."""
    values = parse_json_lines(lines)
    if values is None:
        return None
    are_texts = set(map(type, values)) == {str}
    texts = values if are_texts else [value if isinstance(value, str) else _only_message(value) for value in values]
    if not all(texts):
        return None
    try:
        # No message is too large, as no line is.
        return list(map(str.encode, texts))
    except UnicodeEncodeError:
        return None


def _only_message(value: object) -> str:
    """The message of an object that has no other field; else an empty text."""
    message = value["message"] if isinstance(value, dict) and value.keys() == {"message"} else None
    return message if isinstance(message, str) else ""


def _messages_one_by_one(lines: list[str], first: int) -> list[bytes]:
    """The messages on the lines. Raises HttpProblem, which names the line; the number of ``lines[0]`` is ``first``."""
    messages: list[bytes] = []
    for number, line in enumerate(lines, first):
        try:
            messages.append(_message_on(line))
        except HttpProblem as problem:
            problem.fields["line"] = number
            problem.detail = f"line {number}: {problem.detail}"
            raise
    return messages


def check_batch(messages: list[bytes], key: str | None) -> None:
    """Raise HttpProblem when ``messages``, appended at once under ``key``, are more than one batch holds."""
    if len(messages) > MAX_BATCH_RECORDS or append_size(messages, key) > MAX_APPEND_BYTES:
        raise _too_large()


def _message_on(line: str) -> bytes:
    if not line.strip():
        raise HttpProblem(400, "no-message", "the line is blank")
    if len(line) > MAX_BODY_BYTES:
        raise HttpProblem(413, "message-too-large", f"the line is larger than {MAX_BODY_BYTES} characters")
    value = parse_json(line)
    if isinstance(value, dict):
        check_fields(value, {"message"})
        value = message_in(value)
    elif not isinstance(value, str):
        raise HttpProblem(400, "invalid-message", "a line must be a JSON text, or an object with 'message'")
    return encoded(value)


def _too_large() -> HttpProblem:
    detail = f"at most {MAX_BATCH_RECORDS} messages, with {MAX_APPEND_BYTES} bytes in all, are appended at once"
    return HttpProblem(413, "batch-too-large", detail, most_messages=MAX_BATCH_RECORDS, most_bytes=MAX_APPEND_BYTES)
