"""Which way a node's deliveries go."""

import logging
from typing import Final

from infra.rabbitmq import fast
from infra.rabbitmq.plain import PlainTransport
from infra.rabbitmq.transport import NewTransport

FAST: Final = "fast"
PLAIN: Final = "plain"
WAYS: Final = (FAST, PLAIN)

logger = logging.getLogger(__name__)


async def choose(way: str) -> NewTransport:
    """The transport of ``way``, which is one of WAYS.

    Where the fast way finds something missing in the libraries, it is the plain transport, and a warning is logged.
    """
    assert way in WAYS
    if way == PLAIN:
        return PlainTransport
    if missing := await fast.missing():
        logger.warning("AMQP goes the plain way, which is slower: the fast one finds no %s", ", no ".join(missing))
        return PlainTransport
    return fast.load()
