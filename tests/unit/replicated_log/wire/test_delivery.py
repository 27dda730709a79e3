import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicated_log.wire.batch import Position
from replicated_log.wire.delivery import (
    MAX_DELIVERY_BYTES,
    VERSION,
    Ack,
    Beat,
    Delivery,
    Envelope,
    Fetch,
    Fetched,
    LiveBatches,
    MalformedDeliveryError,
    ReignId,
    decode,
    encode,
)
from tests.unit.builders import make_ack, make_batches, make_beat, make_fetch, make_fetched, make_live

BATCHES = make_batches("first", ["second", "third"])
ONE_OF_EACH: list[Delivery] = [
    make_live(*BATCHES),
    make_beat(3, 2),
    make_ack(BATCHES[1].end),
    make_fetch(3),
    make_fetched("request", *BATCHES),
]
JSON_ONES = ONE_OF_EACH[1:4]
FIELDS_OF_JSON = [(delivery, field) for delivery in JSON_ONES for field in json.loads(encode(delivery).body)]

TEXTS = st.text(max_size=255)
NUMBERS = st.integers(0, 2**63 - 1)
REIGNS = st.builds(ReignId, TEXTS, NUMBERS, TEXTS)
SOME_BATCHES = st.lists(st.lists(st.text(), min_size=1, max_size=3), min_size=1, max_size=3).map(
    lambda contents: tuple(make_batches(*contents))
)
CHAINS = st.binary(min_size=16, max_size=16)
DELIVERIES: st.SearchStrategy[Delivery] = st.one_of(
    st.builds(LiveBatches, REIGNS, SOME_BATCHES, TEXTS),
    st.builds(Beat, REIGNS, NUMBERS, NUMBERS, NUMBERS, TEXTS),
    st.builds(
        Ack,
        TEXTS,
        TEXTS,
        TEXTS | st.none(),
        NUMBERS,
        REIGNS | st.none(),
        NUMBERS,
        st.builds(Position, NUMBERS, CHAINS),
        TEXTS,
        TEXTS | st.none(),
    ),
    st.builds(Fetch, TEXTS, TEXTS | st.none(), NUMBERS, TEXTS, TEXTS),
    st.builds(Fetched, REIGNS, TEXTS, NUMBERS, SOME_BATCHES | st.just(())),
)

KINDS = st.sampled_from(["batch", "beat", "ack", "fetch", "fetched"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def deep_list() -> object:
    value: object = 0
    for _ in range(100_000):
        value = [value]
    return value


@given(DELIVERIES)
def test_what_is_encoded_is_decoded_again(delivery: Delivery) -> None:
    assert decode(encode(delivery)) == delivery


def test_each_kind_is_sent_under_its_own_name_and_with_the_version() -> None:
    envelopes = [encode(delivery) for delivery in ONE_OF_EACH]
    assert [envelope.kind for envelope in envelopes] == ["batch", "beat", "ack", "fetch", "fetched"]
    assert all(envelope.headers["version"] == VERSION for envelope in envelopes)


def test_only_beats_expire() -> None:
    assert [encode(delivery).expiration_s for delivery in ONE_OF_EACH] == [None] * 5
    for delivery in ONE_OF_EACH:
        if isinstance(delivery, Beat):
            assert encode(delivery, 2.5).expiration_s == 2.5
        else:
            with pytest.raises(AssertionError):
                encode(delivery, 2.5)


def test_batches_travel_byte_for_byte_as_they_are_stored() -> None:
    for delivery in (ONE_OF_EACH[0], ONE_OF_EACH[4]):
        assert encode(delivery).body == b"".join(batch.data for batch in BATCHES)


def test_a_batch_can_be_traced_by_its_offsets_and_an_ack_by_what_it_covers() -> None:
    assert encode(make_live(*BATCHES)).message_id == "0-2"
    assert encode(replace(make_ack(BATCHES[1].end), covers="1-2")).correlation_id == "1-2"


@given(KINDS, st.binary() | JSON.map(lambda body: json.dumps(body).encode()), st.dictionaries(TEXTS, JSON), JSON)
def test_noise_is_malformed_and_nothing_else(kind: str, body: bytes, headers: dict[str, Any], anything: Any) -> None:
    with pytest.raises(MalformedDeliveryError):
        decode(Envelope(kind, body, {**headers, "version": VERSION}, reply_to=anything, correlation_id=anything))


@given(st.sampled_from([place for place in FIELDS_OF_JSON if place[1] != "chain"]), JSON)
def test_a_field_of_a_wrong_type_is_malformed_and_nothing_else(place: tuple[Delivery, str], value: Any) -> None:
    delivery, field = place
    envelope = encode(delivery)
    body = {**json.loads(envelope.body), field: value}
    try:
        decoded = decode(replace(envelope, body=json.dumps(body).encode()))
    except MalformedDeliveryError:
        return
    assert json.loads(encode(decoded).body) == body


@pytest.mark.parametrize(("delivery", "field"), FIELDS_OF_JSON)
def test_a_missing_field_is_malformed(delivery: Delivery, field: str) -> None:
    envelope = encode(delivery)
    body = json.loads(envelope.body)
    del body[field]
    with pytest.raises(MalformedDeliveryError):
        decode(replace(envelope, body=json.dumps(body).encode()))


@pytest.mark.parametrize("delivery", [ONE_OF_EACH[0], ONE_OF_EACH[4]], ids=["batch", "fetched"])
@pytest.mark.parametrize("wrong", [None, 1.5, -1, 2**63, False, ["x"], {}, b"x", "x" * 256])
def test_a_header_of_a_wrong_type_is_malformed(delivery: Delivery, wrong: object) -> None:
    envelope = encode(delivery)
    for header in envelope.headers:
        with pytest.raises(MalformedDeliveryError):
            decode(replace(envelope, headers={**envelope.headers, header: wrong}))
        with pytest.raises(MalformedDeliveryError):
            decode(
                replace(envelope, headers={name: envelope.headers[name] for name in envelope.headers if name != header})
            )


@pytest.mark.parametrize(
    "envelope",
    [
        replace(encode(ONE_OF_EACH[0]), reply_to=None),
        replace(encode(ONE_OF_EACH[1]), reply_to=None),
        replace(encode(ONE_OF_EACH[3]), reply_to=None),
        replace(encode(ONE_OF_EACH[3]), correlation_id=None),
        replace(encode(ONE_OF_EACH[4]), correlation_id=None),
        replace(encode(ONE_OF_EACH[0]), body=b""),
        replace(encode(ONE_OF_EACH[0]), kind="letter"),
    ],
    ids=["batch to nobody", "beat to nobody", "fetch to nobody", "fetch unnamed", "fetched unnamed", "empty", "kind"],
)
def test_what_can_not_be_answered_or_understood_is_malformed(envelope: Envelope) -> None:
    with pytest.raises(MalformedDeliveryError):
        decode(envelope)


@pytest.mark.parametrize("delivery", ONE_OF_EACH, ids=lambda delivery: type(delivery).__name__)
@pytest.mark.parametrize(
    "version",
    [None, 0, VERSION + 1, str(VERSION), True, 1.0, 10**5_000, deep_list()],
    ids=["none", "of the past", "of the future", "text", "boolean", "float", "huge", "deep"],
)
def test_another_version_is_malformed(delivery: Delivery, version: object) -> None:
    envelope = encode(delivery)
    with pytest.raises(MalformedDeliveryError):
        decode(replace(envelope, headers={**envelope.headers, "version": version}))


@pytest.mark.parametrize("chain", ["", "00", "0" * 30, "0" * 34, "x" * 32, "0" * 256, "ü" * 32, 0, None, ["00"] * 16])
def test_a_chain_of_another_length_or_kind_is_malformed(chain: object) -> None:
    envelope = encode(make_ack(BATCHES[1].end))
    body = {**json.loads(envelope.body), "chain": chain}
    with pytest.raises(MalformedDeliveryError):
        decode(replace(envelope, body=json.dumps(body).encode()))


@pytest.mark.parametrize("kind", ["beat", "ack", "fetch"])
@pytest.mark.parametrize(
    "body",
    [b"[" * 1_000_000, b'{"a":' * 500_000, b"9" * 1_000_000, b"\xff\xfe", b'"\xed\xa0\x80"', b"", b"NaN"],
    ids=["deep list", "deep object", "long number", "half a text", "not UTF-8", "empty", "not a number"],
)
def test_hostile_json_is_malformed(kind: str, body: bytes) -> None:
    with pytest.raises(MalformedDeliveryError):
        decode(Envelope(kind, body, {"version": VERSION}, correlation_id="request", reply_to="queue"))


@pytest.mark.parametrize("delivery", ONE_OF_EACH, ids=lambda delivery: type(delivery).__name__)
def test_an_oversize_delivery_is_malformed_whatever_it_says(delivery: Delivery) -> None:
    envelope = encode(delivery)
    oversize = envelope.body + b" " * (MAX_DELIVERY_BYTES + 1 - len(envelope.body))
    with pytest.raises(MalformedDeliveryError, match="more than"):
        decode(replace(envelope, body=oversize))


@pytest.mark.parametrize("delivery", [ONE_OF_EACH[0], ONE_OF_EACH[4]], ids=["batch", "fetched"])
def test_damage_to_any_batch_makes_the_delivery_malformed(delivery: Delivery) -> None:
    envelope = encode(delivery)
    for at in range(len(envelope.body)):
        damaged = bytearray(envelope.body)
        damaged[at] ^= 0x10
        with pytest.raises(MalformedDeliveryError):
            decode(replace(envelope, body=bytes(damaged)))
