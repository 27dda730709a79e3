"""What the fast way relies on is looked for, each thing by its name."""

import inspect
import types
from collections.abc import Callable
from functools import partial
from typing import Any

import aio_pika
import aiormq
import pamqp.commands
import pamqp.decode
import pamqp.encode
import pamqp.frame
import pytest

from infra.rabbitmq import fast
from infra.rabbitmq.choice import FAST, PLAIN, choose
from infra.rabbitmq.fast.transport import FastTransport
from infra.rabbitmq.plain import PlainTransport

Remove = Callable[[pytest.MonkeyPatch], None]


def without(owner: object, name: str) -> Remove:
    def remove(monkeypatch: pytest.MonkeyPatch) -> None:
        for one in inspect.getmro(owner) if inspect.isclass(owner) else [owner]:
            if name in vars(one):
                monkeypatch.delattr(one, name)
        assert not hasattr(owner, name)

    return remove


def instead(owner: object, name: str, other: object) -> Remove:
    return lambda monkeypatch: monkeypatch.setattr(owner, name, other)


def set_under_another_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the constructor of aiormq's channels set another attribute in place of this one."""
    code = aiormq.Channel.__init__.__code__
    assert name in code.co_names
    renamed = code.replace(co_names=tuple("other" if one == name else one for one in code.co_names))
    constructor = types.FunctionType(renamed, vars(aiormq.channel), closure=aiormq.Channel.__init__.__closure__)
    monkeypatch.setattr(aiormq.Channel, "__init__", constructor)


async def consume_otherwise(self: object, queue: str, consumer_callback: object, no_ack: bool = False) -> None: ...


async def connect_by_itself(self: aio_pika.Connection, timeout: float | None = None) -> None:
    """As if nothing in kwargs mattered."""


async def ask_the_factory_otherwise(self: Any, *_: object) -> None:
    await self._transport_factory.create(self.url, ssl=None)


CHANGES: dict[str, list[Remove]] = {
    "aio_pika.Connection.kwargs['transport_factory']": [
        instead(aio_pika.Connection, "connect", connect_by_itself),
        instead(aiormq.connection.Connection, "connect", ask_the_factory_otherwise),
    ],
    "aio_pika.Channel.get_underlay_channel": [without(aio_pika.Channel, "get_underlay_channel")],
    "aiormq.connection.TransportFactory": [
        without(aiormq.connection, "TransportFactory"),
        instead(aiormq.connection.TransportFactory, "create", lambda self, host, port: None),
    ],
    "aiormq.Channel.is_closed": [without(aiormq.Channel, "is_closed")],
    "aiormq.Channel.number": [partial(set_under_another_name, "number")],
    "aiormq.Channel.max_content_size": [partial(set_under_another_name, "max_content_size")],
    "aiormq.Channel.publisher_confirms": [partial(set_under_another_name, "publisher_confirms")],
    "aiormq.Channel.on_consumer_cancel_callbacks": [partial(set_under_another_name, "on_consumer_cancel_callbacks")],
    "aiormq.Channel.basic_consume": [
        without(aiormq.Channel, "basic_consume"),
        instead(aiormq.Channel, "basic_consume", consume_otherwise),
    ],
    "pamqp.frame.marshal": [
        without(pamqp.frame, "marshal"),
        without(pamqp.commands.Basic, "Publish"),
        instead(pamqp.frame, "marshal", lambda frame, channel: b"otherwise"),
    ],
    "pamqp.encode.field_table, pamqp.decode.field_table": [
        without(pamqp.encode, "field_table"),
        without(pamqp.decode, "field_table"),
        instead(pamqp.decode, "field_table", lambda data: {}),
    ],
}


async def test_with_the_libraries_as_they_are_nothing_is_missing_and_the_fast_way_is_gone() -> None:
    assert await fast.missing() == []
    assert await choose(FAST) is FastTransport


@pytest.mark.parametrize(
    ("name", "change"),
    [
        pytest.param(name, change, id=f"{name} {number}")
        for name, changes in CHANGES.items()
        for number, change in enumerate(changes)
    ],
)
async def test_what_is_missing_is_named_and_the_plain_way_gone_instead(
    name: str, change: Remove, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    change(monkeypatch)
    assert name in await fast.missing()
    assert await choose(FAST) is PlainTransport
    (warning,) = (one.getMessage() for one in caplog.records if one.name == choose.__module__)
    assert name in warning


async def test_who_asks_for_the_plain_way_is_not_warned(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(aio_pika.Channel, "get_underlay_channel")
    assert await choose(PLAIN) is PlainTransport
    assert not caplog.records


def test_there_is_a_change_for_everything_that_is_relied_on() -> None:
    assert set(CHANGES) == {*fast.RELIES_ON, "aio_pika.Connection.kwargs['transport_factory']"}
