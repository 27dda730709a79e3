"""What a node answers, as the types of its JSON."""

from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


@dataclass(frozen=True)
class Ack:
    """`node` held the record on disk `ms` milliseconds after the append was asked for; None: too long ago to tell."""

    node: str
    ms: float | None


@dataclass(frozen=True)
class Appended:
    """`w` nodes hold the record at `offset`: those in `acks`. `replayed`: an earlier request had appended it."""

    offset: int
    epoch: int
    w: int
    acks: tuple[Ack, ...]
    elapsed_ms: float
    replayed: bool = False


@dataclass(frozen=True)
class AppendedMany:
    """`w` nodes hold the `count` records from `first_offset` on. `replayed`: an earlier request had appended them."""

    first_offset: int
    count: int
    epoch: int
    w: int
    acks: tuple[Ack, ...]
    elapsed_ms: float
    replayed: bool = False


@dataclass(frozen=True)
class Record:
    """One message of the log. `time` is UTC in ISO 8601, as the master wrote it."""

    offset: int
    epoch: int
    time: str
    message: str


@dataclass(frozen=True)
class Page:
    """Consecutive records, and where the node's log ended when they were read."""

    messages: tuple[Record, ...]
    end_offset: int


@dataclass(frozen=True)
class SecondaryProgress:
    """A secondary as the master sees it; `last_seen_s` is seconds ago, None when it never was."""

    name: str
    state: str
    acked_end: int
    lag: int
    last_seen_s: float | None


@dataclass(frozen=True)
class Status:
    """How a node is. Fields that its role does not have are None or empty: state and acked_end of a master, nodes,
    read_only (the reason, when it is so), secondaries and observers (which are not counted) of a secondary."""

    name: str
    role: str
    log: str
    log_id: str | None
    epoch: int | None
    end_offset: int
    broker: str
    committed_end: int | None = None
    nodes: int | None = None
    read_only: str | None = None
    secondaries: tuple[SecondaryProgress, ...] = ()
    observers: tuple[SecondaryProgress, ...] = ()
    acked_end: int | None = None
    state: str | None = None


@dataclass(frozen=True)
class Health:
    """How many nodes are there: `alive` of `nodes` nodes, the master among them; `majority` of them are a quorum.
    `read_only` is the reason, when it takes no messages; `secondaries` the state of each."""

    alive: int
    majority: int
    nodes: int
    read_only: str | None
    secondaries: dict[str, str]


class MalformedError(Exception):
    """The answer is not of the shape expected."""


def shaped(kind: type[T], value: Any) -> T:
    """`value`, read from JSON, as the dataclass `kind`. Fields it does not know are ignored: nodes may say more.

    Raises MalformedError when a field is missing, or is not of its type.
    """
    if not isinstance(value, dict):
        raise MalformedError
    hints = get_type_hints(kind)
    given = {}
    for field in fields(kind):
        if field.name in value:
            given[field.name] = _shaped_as(hints[field.name], value[field.name])
        elif field.default is MISSING:
            raise MalformedError
    return kind(**given)


def _shaped_as(hint: Any, value: Any) -> Any:
    """`value` as what a field is declared: str, int, float, a literal, T | None, tuple[T, ...] or a dataclass."""
    if isinstance(hint, type) and is_dataclass(hint):
        return shaped(hint, value)
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_shaped_as(get_args(hint)[0], one) for one in value)
    if get_origin(hint) is dict and isinstance(value, dict):
        return {name: _shaped_as(get_args(hint)[1], one) for name, one in value.items()}
    if NoneType in get_args(hint):
        return None if value is None else _shaped_as(get_args(hint)[0], value)
    if (hint is float and isinstance(value, int)) or (get_origin(hint) is Literal and value in get_args(hint)):
        return value
    if not isinstance(hint, type) or not isinstance(value, hint):
        raise MalformedError
    return value
