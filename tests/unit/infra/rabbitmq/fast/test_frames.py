"""Our few frames of AMQP beside pamqp's, which knows them all."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.frame import marshal, unmarshal
from pamqp.header import ContentHeader

from infra.rabbitmq.fast.frames import (
    HEAD,
    publish_frames,
    read_body_size,
    read_confirm,
    read_deliver,
    read_envelope,
    settled_up_to,
)
from replicated_log.wire.delivery import Envelope

CHANNEL = 3

SHORT_TEXTS = st.text(max_size=60)
NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"], include_characters=".-"), max_size=100)
NUMBERS = st.integers(0, 2**63 - 1)
FIELDS = st.dictionaries(NAMES.filter(bool), NUMBERS | SHORT_TEXTS, max_size=4)
ENVELOPES = st.builds(
    Envelope,
    kind=SHORT_TEXTS,
    body=st.binary(max_size=50),
    headers=FIELDS,
    message_id=st.none() | SHORT_TEXTS,
    correlation_id=st.none() | SHORT_TEXTS,
    reply_to=st.none() | SHORT_TEXTS,
    expiration_s=st.none() | st.integers(0, 1000),
)
TEXTS = st.text(min_size=1, max_size=60)
"""pamqp leaves out a property that is an empty text."""
ANY_PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("content_type", "content_encoding", "correlation_id", "reply_to", "expiration"), TEXTS),
        **dict.fromkeys(("message_id", "message_type", "user_id", "app_id"), TEXTS),
        "headers": FIELDS,
        "delivery_mode": st.integers(1, 2),
        "priority": st.integers(0, 9),
        "timestamp": st.integers(0, 2**32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    },
)


def frames(data: bytes) -> list[Any]:
    found = []
    while data:
        size, channel, one = unmarshal(data)
        assert channel == CHANNEL
        found.append(one)
        data = data[size:]
    return found


def payload(frame: bytes) -> bytes:
    return frame[HEAD.size : -1]


def content_header(size: int = 0, **properties: Any) -> bytes:
    return payload(marshal(ContentHeader(body_size=size, properties=Basic.Properties(**properties)), CHANNEL))


@given(ENVELOPES, NAMES, NAMES, st.integers(1, 60))
def test_what_is_published_is_read_by_another_as_it_was_meant(
    envelope: Envelope, exchange: str, key: str, piece_bytes: int
) -> None:
    publish, header, *pieces = frames(publish_frames(CHANNEL, exchange, key, envelope, piece_bytes))
    assert (publish.exchange, publish.routing_key) == (exchange, key)
    assert header.body_size == len(envelope.body)
    assert [type(piece) for piece in pieces] == [ContentBody] * -(-len(envelope.body) // piece_bytes)
    assert b"".join(piece.value for piece in pieces) == envelope.body
    properties = header.properties
    assert (properties.headers or {}) == envelope.headers
    assert (properties.message_type, properties.message_id) == (envelope.kind, envelope.message_id)
    assert (properties.correlation_id, properties.reply_to) == (envelope.correlation_id, envelope.reply_to)
    expected = None if envelope.expiration_s is None else str(int(envelope.expiration_s * 1000))
    assert (properties.expiration, properties.delivery_mode) == (expected, 1)


@given(st.integers(0, 2**40), ANY_PROPERTIES)
def test_what_another_has_published_with_any_properties_is_read_as_it_was_meant(
    size: int, properties: dict[str, Any]
) -> None:
    header = content_header(size, **properties)
    assert read_body_size(header) == size
    assert read_envelope(header, b"body") == Envelope(
        kind=properties.get("message_type", ""),
        body=b"body",
        headers=properties.get("headers", {}),
        message_id=properties.get("message_id"),
        correlation_id=properties.get("correlation_id"),
        reply_to=properties.get("reply_to"),
    )


@given(ANY_PROPERTIES, st.data())
def test_a_content_header_that_is_cut_short_or_longer_is_refused(
    properties: dict[str, Any], data: st.DataObject
) -> None:
    whole = content_header(7, **properties)
    end = data.draw(st.integers(0, len(whole) - 1))
    for spoilt in (whole[:end], whole + b"\0"):
        with pytest.raises(ValueError, match=r"."):
            read_body_size(spoilt), read_envelope(spoilt, b"")


@given(NUMBERS, st.booleans(), st.sampled_from([Basic.Ack, Basic.Nack]))
def test_a_confirm_says_of_what_it_is(number: int, multiple: bool, method: type[Basic.Ack] | type[Basic.Nack]) -> None:
    assert read_confirm(payload(marshal(method(number, multiple), CHANNEL))) == (number, multiple)


@given(NAMES, NUMBERS, st.booleans())
def test_a_deliver_says_to_whom_and_what(consumer_tag: str, number: int, redelivered: bool) -> None:
    deliver = Basic.Deliver(consumer_tag, number, redelivered, "replog.main.log", "")
    assert read_deliver(payload(marshal(deliver, CHANNEL))) == (consumer_tag, number)


def test_settling_is_of_all_up_to_one() -> None:
    (ack,) = frames(settled_up_to(CHANNEL, 7))
    assert isinstance(ack, Basic.Ack)
    assert (ack.delivery_tag, ack.multiple) == (7, True)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(content_header()[:-2] + b"\0\1", id="more flags follow"),
        pytest.param(content_header()[:-2] + b"\x20\0" + b"\0\0\0\4\1a!\0", id="a table with an unknown type"),
        pytest.param(content_header()[:-2] + b"\x20\0" + b"\0\0\0\4\1at\1!", id="a table that ends early"),
        pytest.param(content_header()[:-2] + b"\0\x20" + b"\1\xff", id="a text that is no UTF-8"),
    ],
)
def test_what_makes_no_sense_is_refused(header: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_envelope(header, b"")
