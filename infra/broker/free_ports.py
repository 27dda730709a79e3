"""TCP ports on loopback that nobody listens on."""

import random
import socket
from contextlib import closing
from itertools import islice

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


def free_ports(count: int) -> list[int]:
    """`count` different free ports, from 20000 to 32000. Nothing reserves them: use them soon."""
    candidates = random.sample(range(_LOWEST, _HIGHEST), _HIGHEST - _LOWEST)
    ports = list(islice(filter(is_free, candidates), count))
    if len(ports) < count:
        raise OSError(f"no {count} free ports between {_LOWEST} and {_HIGHEST}")
    return ports
