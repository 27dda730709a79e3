"""The write concern: how many configured nodes, master included, must hold a record before the client is answered."""

import re
from typing import Final

ALL: Final = "all"
MAJORITY: Final = "majority"

_PREFIX: Final = re.compile(r"w=(-?[0-9]+|(?:majority|all)(?!\w)) ?(.*)", re.DOTALL)
_NUMBER: Final = re.compile(r"(-?)0*([0-9]+)")
_MOST_DIGITS: Final = 10


class InvalidWriteConcernError(ValueError):
    """Raised by :func:`resolve`: the text names no write concern, or one that this cluster can't give."""


def majority(nodes: int) -> int:
    """The smallest number of nodes such that two groups of that size always share a node."""
    return nodes // 2 + 1


def resolve(asked: int | str, nodes: int) -> int:
    """The number of nodes that ``asked`` means in a cluster of ``nodes`` (configured ones, living or not).

    Raises InvalidWriteConcernError unless it is ``all``, ``majority`` or a number from 1 to ``nodes``.
    """
    if asked == ALL:
        return nodes
    if asked == MAJORITY:
        return majority(nodes)
    number = _number(asked)
    if number is None or not 1 <= number <= nodes:
        shown = asked[:40] if isinstance(asked, str) else max(min(asked, 10**_MOST_DIGITS), -1)
        raise InvalidWriteConcernError(f"w must be 1 to {nodes}, 'majority' or 'all', not {shown!r}")
    return number


def clamp(asked: int | str, nodes: int) -> int:
    """As :func:`resolve`, but any number below 1 means 1 and any above ``nodes`` means all (the seed's rule)."""
    number = _number(asked)
    return resolve(asked if number is None else min(max(number, 1), nodes), nodes)


def split_prefix(text: str) -> tuple[str | None, str]:
    """Split the seed's form ``w=2 text`` into write concern and message; without that prefix the first is None.

    After a number the blank may be missing; ``w=allow me`` is a message.
    """
    match = _PREFIX.fullmatch(text)
    return (match[1], match[2]) if match else (None, text)


def _number(asked: int | str) -> int | None:
    if isinstance(asked, bool):
        return None
    if isinstance(asked, int):
        return asked
    match = _NUMBER.fullmatch(asked)
    # The bound keeps int() from being handed a megabyte of digits; what it cuts off is out of range all the same.
    return int(match[1] + match[2][:_MOST_DIGITS]) if match else None
