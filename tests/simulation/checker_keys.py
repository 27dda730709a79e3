"""What the checker knows of keys and conditions: which requests are for the same messages, and what became of them."""

from collections import defaultdict
from dataclasses import dataclass, field

from tests.simulation.history import Refused
from tests.simulation.sequence import Line

NOT_LOOKED_UP = ("down", "overloaded")
"""Refusals that come before the log is asked for the key: they say nothing of earlier requests."""


class BrokenError(Exception):
    """A rule is broken."""


@dataclass(slots=True)
class Append:
    """One request. ``floor``: whatever comes of it comes after this offset, if not of an earlier one with its key."""

    messages: tuple[str, ...]
    w: int
    floor: int
    key: str | None = None
    if_end: int | None = None
    end: int = 0
    """Where the master's log ended when it was sent."""
    stored: bool = False
    """Whether its messages were in that log."""
    offset: int | None = None
    waits: bool = True


@dataclass(slots=True)
class Body:
    """All requests for the same messages: more than one only with a key. ``hopes`` counts those not refused.

    ``appended`` is true once one was told that it has appended them; ``suspects`` counts those that may have, for all
    that they were told.
    """

    key: str | None
    floor: int
    hopes: int = 0
    appended: bool = False
    suspects: int = 0
    if_ends: set[int | None] = field(default_factory=set)


class Keys:
    def __init__(self) -> None:
        self.bodies: dict[tuple[str, ...], Body] = {}
        self.bodies_of: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
        self.keyed: dict[str, tuple[str, tuple[str, ...]]] = {}
        """By message, where it is one of a request with a key: that key, and all of the request's messages."""

    def request(self, append: Append) -> None:
        body = self.bodies.setdefault(append.messages, Body(append.key, append.floor))
        assert append.key == body.key
        body.hopes += 1
        body.suspects += 1
        body.if_ends.add(append.if_end)
        if append.key is not None:
            body.floor = append.floor = min(body.floor, append.floor)
            self.bodies_of[append.key].add(append.messages)
            for message in append.messages:
                self.keyed[message] = (append.key, append.messages)

    def stored(self, line: Line, messages: list[str]) -> None:
        """These have become durable."""
        for message in messages:
            if message in self.keyed:
                key, body = self.keyed[message]
                if line.keys.setdefault(key, body) != body:
                    raise BrokenError("key", f"{body} is stored with {key!r}, and so is {line.keys[key]}")

    def placed(self, append: Append, offset: int) -> None:
        """The client was told where its messages are."""
        if_ends = self.bodies[append.messages].if_ends
        if None not in if_ends and offset not in if_ends:
            raise BrokenError("if-match", f"{append.messages} is at {offset}, and was to be at one of {if_ends}")

    def told(self, append: Append, *, replayed: bool) -> None:
        """The client was told that its messages are in the log, and whether an earlier request has them appended."""
        body = self.bodies[append.messages]
        body.suspects -= 1
        if not replayed:
            if append.stored or body.appended:
                raise BrokenError("replayed", f"{append.messages} was appended before, and not said to be replayed")
            body.appended = True
        elif not append.stored and not body.appended and not body.suspects:
            raise BrokenError("replayed", f"{append.messages} was said to be replayed, and nobody else appended it")

    def forget_stored(self) -> None:
        """The master's log is another one now: what was appended before may be appended again."""
        for body in self.bodies.values():
            body.appended = False

    def refused(self, append: Append, refusal: Refused, line: Line, end: int) -> bool:
        """The client was told that nothing is appended; ``line`` is what the master has, up to ``end``.

        True when nobody else has asked for these messages who might still have them appended.
        """
        body = self.bodies[append.messages]
        body.hopes -= 1
        body.suspects -= 1
        stored = not line.messages.isdisjoint(append.messages)
        if append.key is not None and stored and refusal.why not in NOT_LOOKED_UP:
            raise BrokenError("key", f"{append.messages} was refused ({refusal.why}), and is in the log with its key")
        if refusal.why == "key reused" and (append.key is None or append.key not in line.keys):
            raise BrokenError("key", f"{append.messages} was refused, and no messages are stored with {append.key!r}")
        if refusal.why == "end mismatch":
            assert refusal.end is not None
            if append.if_end in {None, refusal.end} or not append.end <= refusal.end <= end:
                raise BrokenError(
                    "if-match",
                    f"{append.messages} was refused since the log ended at {refusal.end} instead of {append.if_end}; "
                    f"it has grown from {append.end} to {end}",
                )
        return not body.hopes
