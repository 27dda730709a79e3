"""TCP ports on loopback that nobody listens on."""

import random
import socket
from collections.abc import Iterator
from contextlib import closing
from itertools import cycle, islice
from typing import Final

# Below Linux's ephemeral range (32768 to 60999): no outgoing connection can take a port of ours while its server
# restarts, nor can a client that keeps reconnecting to it end up connected to itself.
_LOWEST, _HIGHEST = 20_000, 32_000


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:port now."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class _Turns:
    """All ports that this process gives out, in turns. The first turn begins anywhere."""

    def __init__(self) -> None:
        self.share(0, 1)

    def share(self, part: int, parts: int) -> None:
        self.ports = range(_LOWEST + part, _HIGHEST, parts)
        self._next = cycle(random.sample(self.ports, len(self.ports)))

    def one_turn(self) -> Iterator[int]:
        return islice(self._next, len(self.ports))


_TURNS: Final = _Turns()


def free_ports(count: int) -> list[int]:
    """`count` different free ports, from 20000 to 32000. Nothing reserves them: use them soon.

    A port is given out once more only after all others were, since its first taker may not listen yet.
    """
    ports = list(islice(filter(is_free, _TURNS.one_turn()), count))
    if len(ports) < count:
        raise OSError(f"no {count} free ports between {_LOWEST} and {_HIGHEST}")
    return ports


def share_ports(part: int, parts: int) -> None:
    """From now on give out one in `parts` of all ports: none that another process gives out as another `part`."""
    _TURNS.share(part, parts)
