"""What the log is measured against: another durable system, of three nodes, on loopback."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from tests.bench.load import Load


class MissingPeerError(RuntimeError):
    """Raised when a peer is entered: a program of it is not on this machine. The text names Debian's package."""


class Peer(ABC):
    """A context in which three nodes run, each with its own data directory, on loopback; ended on leaving.

    All methods block. ``promise`` says in a sentence what holds once a write was answered.
    """

    name: ClassVar[str]
    promise: ClassVar[str]
    has_batches: ClassVar[bool] = True

    def __init__(self, directory: Path) -> None:
        """``directory`` is for its data and its nodes' logs; it is made when the context is entered."""
        self.directory = directory

    @property
    @abstractmethod
    def version(self) -> str: ...

    @abstractmethod
    def __enter__(self) -> Self:
        """On return all nodes take part in every write. Raises MissingPeerError."""

    @abstractmethod
    def __exit__(self, *_: object) -> None: ...

    @abstractmethod
    def singles(self, clients: int, seconds: float) -> Load:
        """``clients`` at once append one message of 100 bytes after another. Raises LoadError."""

    def batches(self, clients: int, seconds: float) -> Load:
        """``clients`` at once append 1,000 messages of 100 bytes after another; ``rate`` is in records."""
        raise NotImplementedError
