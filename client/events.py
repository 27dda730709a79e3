"""Server-sent events, as the bytes of an answer become them."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One event of a stream. `kind` is message unless the stream says otherwise."""

    kind: str
    data: str


class EventTooLongError(Exception):
    """An event above the bound, not read further."""


class EventParser:
    """Takes a stream in pieces of any size, and gives back the events that they complete.

    Lines end in \\n or \\r\\n. What is held back, an event that is not complete, never exceeds `max_bytes`.
    `last_id` is what to say on connecting again: the id up to which all is given back.
    """

    def __init__(self, max_bytes: int) -> None:
        self.last_id: str | None = None
        self._max_bytes = max_bytes
        self._line = bytearray()
        self._fields: dict[str, list[str]] = {}
        self._held = 0

    def feed(self, piece: bytes) -> Iterator[Event]:
        """Raises EventTooLongError, or UnicodeDecodeError when it is no UTF-8. Take all before feeding more."""
        *ended, rest = piece.split(b"\n")
        for end in ended:
            line = bytes(self._line + end).removesuffix(b"\r")
            self._line.clear()
            if line:
                self._take(line.decode())
            elif (event := self._complete()) is not None:
                yield event
        self._line += rest
        if len(self._line) + self._held > self._max_bytes:
            raise EventTooLongError

    def _take(self, line: str) -> None:
        """One field of the event. A comment begins with a colon, as a field without a name would, and means nothing."""
        name, _, value = line.partition(":")
        if name:
            self._fields.setdefault(name, []).append(value.removeprefix(" "))
            self._held += len(line)

    def _complete(self) -> Event | None:
        """The event that an empty line ends; None when there is no data, which an id alone has not."""
        fields, self._fields, self._held = self._fields, {}, 0
        if "id" in fields:
            self.last_id = fields["id"][-1]
        return Event(fields.get("event", ["message"])[-1], "\n".join(fields["data"])) if "data" in fields else None
