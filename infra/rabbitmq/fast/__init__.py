"""The fast way: deliveries, confirms and settlings as frames of our own. All else on a connection is aio-pika's.

It relies on parts of aio-pika, aiormq and pamqp that they may change. These are checked at start (:func:`missing`); a
node on which one is missing goes the plain way:

    aio_pika.Connection.kwargs      a ``transport_factory`` in it is handed on to aiormq, whose connection awaits
                                    ``create(url, ssl_context_provider=..., ...)`` for its two streams
    aio_pika.Channel                ``get_underlay_channel()`` gives aiormq's channel
    aiormq.Channel                  ``number``, ``max_content_size`` (of the body in one frame), ``publisher_confirms``,
                                    ``is_closed``, ``on_consumer_cancel_callbacks`` (a set), and ``basic_consume`` with
                                    ``no_ack``, ``exclusive`` and ``consumer_tag``
    pamqp                           ``frame.marshal`` of ``commands.Basic.Publish``; ``encode.field_table`` and
                                    ``decode.field_table``

The rest can't be seen from outside. It holds in aio-pika 10.2 and aiormq 7.2, and the tests on a real broker show it:

    - aiormq reads its stream by the stream's public methods, and any frame for it is a sign of the broker's life;
    - aiormq writes whole frames by each call, so that frames of ours may be written between any two;
    - aiormq publishes nothing by a channel on which we do, so that we know the numbers of the broker's confirms.

    transport      one connection                   stream      the connection's stream: writes, and what comes in
    outbound       a channel to publish on          incoming    which of the frames that come in are taken
    inbound        a channel to consume on          frames      the frames of a delivery, as bytes
"""

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

import aio_pika
from yarl import URL

from infra.rabbitmq.transport import NewTransport

_PUBLISH: Final = b"\x01\x00\x02\x00\x00\x00\x0c\x00\x3c\x00\x28\x00\x00\x01e\x02rk\x00\xce"
"""The method publish on channel 2, to exchange e with the routing key rk."""

_NOBODY: Final = URL("amqp://127.0.0.1:1/")
"""Where a library that does not ask the probe connects to, in vain."""
_NO_CONNECTION: Final = "this is no connection"
_PROBE_S: Final = 5.0
"""How long the libraries may take to ask the probe."""


def load() -> NewTransport:
    """The transport of the fast way; only where nothing is :func:`missing`."""
    made: NewTransport = import_module("infra.rabbitmq.fast.transport").FastTransport
    return made


async def missing() -> list[str]:
    """What the fast way relies on and the installed libraries do not have, by name."""
    names = [name for name, is_there in RELIES_ON.items() if not _holds(is_there)]
    return names if await _asks_transport_factory() else ["aio_pika.Connection.kwargs['transport_factory']", *names]


def _holds(is_there: Callable[[], bool]) -> bool:
    try:
        return is_there()
    except (ImportError, AttributeError, TypeError, ValueError):
        return False


async def _asks_transport_factory() -> bool:
    """Whether a connection of aio-pika's asks the factory among its kwargs for the streams, as it should."""
    asked: list[bool] = []

    class Probe:
        async def create(self, url: URL, **kwargs: Any) -> None:
            asked.append(url.port == _NOBODY.port and hasattr(kwargs.get("ssl_context_provider"), "get_context"))
            raise ConnectionError(_NO_CONNECTION)

    told = logging.getLogger("aiormq.connection")
    told.addFilter(_is_not_of_the_probe)
    try:
        async with asyncio.timeout(_PROBE_S):
            connection = aio_pika.Connection(_NOBODY)
            try:
                connection.kwargs["transport_factory"] = Probe()
                await connection.connect()
            finally:
                await connection.close()
    except Exception:  # noqa: BLE001 - an error of any kind is fine, once the probe was asked
        return asked == [True]
    finally:
        told.removeFilter(_is_not_of_the_probe)
    return False


def _is_not_of_the_probe(record: logging.LogRecord) -> bool:
    """The library logs as an error that it could not connect by the probe, which is what the probe is for."""
    return _NO_CONNECTION not in record.getMessage()


def _has(module: str, path: str) -> bool:
    found = import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return True


def _takes(module: str, path: str, *parameters: str) -> bool:
    """Whether a method has these parameters, among others."""
    owner, _, name = path.rpartition(".")
    taken = inspect.signature(getattr(getattr(import_module(module), owner), name)).parameters
    return taken.keys() >= set(parameters)


def _channel_sets(name: str) -> bool:
    """Whether the constructor of aiormq's channels deals with an attribute of this name."""
    return name in import_module("aiormq").Channel.__init__.__code__.co_names


def _marshals_publish() -> bool:
    publish = import_module("pamqp.commands").Basic.Publish(exchange="e", routing_key="rk")
    return bool(import_module("pamqp.frame").marshal(publish, 2) == _PUBLISH)


def _tables_return() -> bool:
    table = {"text": "x", "number": 1 << 40}
    data = import_module("pamqp.encode").field_table(table)
    return bool(import_module("pamqp.decode").field_table(data) == (len(data), table))


RELIES_ON: Final[Mapping[str, Callable[[], bool]]] = {
    "aio_pika.Channel.get_underlay_channel": lambda: _has("aio_pika", "Channel.get_underlay_channel"),
    "aiormq.connection.TransportFactory": lambda: _takes(
        "aiormq.connection", "TransportFactory.create", "url", "kwargs"
    ),
    "aiormq.Channel.is_closed": lambda: _has("aiormq", "Channel.is_closed"),
    "aiormq.Channel.number": lambda: _channel_sets("number"),
    "aiormq.Channel.max_content_size": lambda: _channel_sets("max_content_size"),
    "aiormq.Channel.publisher_confirms": lambda: _channel_sets("publisher_confirms"),
    "aiormq.Channel.on_consumer_cancel_callbacks": lambda: _channel_sets("on_consumer_cancel_callbacks"),
    "aiormq.Channel.basic_consume": lambda: _takes(
        "aiormq", "Channel.basic_consume", "queue", "no_ack", "exclusive", "consumer_tag"
    ),
    "pamqp.frame.marshal": _marshals_publish,
    "pamqp.encode.field_table, pamqp.decode.field_table": _tables_return,
}
