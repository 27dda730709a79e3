"""The benchmark's limits, and its quorum queue, load what they say they do. How fast does not matter here."""

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import aio_pika
import aiohttp
import pytest

from tests.bench import quorum_queue_load
from tests.bench.limits.amqp_round_trip import amqp_round_trip
from tests.bench.limits.empty_app import EmptyApp
from tests.bench.limits.fdatasync import fdatasync
from tests.bench.load import Load, LoadError
from tests.bench.peer import MissingPeerError
from tests.bench.quorum_queue import QuorumQueue
from tests.bench.wrk import POST, wrk
from tests.cluster import Cluster
from tests.container_broker import AnyBroker

pytestmark = pytest.mark.slow

SECONDS = 0.3


def assert_measured(load: Load) -> None:
    assert load.done > 0
    assert load.rate > 0
    assert 0 < load.p50_s <= load.p99_s


@contextmanager
def or_skipped() -> Iterator[None]:
    try:
        yield
    except MissingPeerError as error:
        pytest.skip(str(error))


def test_a_quorum_queue_confirms_on_a_cluster_of_three_and_no_run_leaves_its_queue(tmp_path: Path) -> None:
    with or_skipped(), QuorumQueue(tmp_path / "quorum_queue") as peer:
        assert_measured(peer.singles(1, SECONDS))
        assert_measured(peer.singles(40, SECONDS))
        assert peer.version[0].isdigit()
        assert peer.cluster.asks("queues") == []


async def test_a_quorum_queue_that_holds_something_else_than_was_confirmed_is_no_load(broker: AnyBroker) -> None:
    queue = secrets.token_hex(4)
    async with await aio_pika.connect(broker.amqp_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(queue, durable=True, arguments=quorum_queue_load.ARGUMENTS)
        await channel.default_exchange.publish(aio_pika.Message(b"one more"), routing_key=queue)
        with pytest.raises(quorum_queue_load.NotHeldError):
            await quorum_queue_load.load(broker.amqp_url, queue, b"message", clients=2, seconds=SECONDS)


async def test_the_empty_application_answers_as_the_master_does(cluster: Cluster, tmp_path: Path) -> None:
    with EmptyApp(tmp_path / "empty") as app:
        assert await answer_of(app.url) == await answer_of(cluster.master.url)


async def answer_of(url: str) -> tuple[int, set[str], Any]:
    """What an append is answered: the status, which headers, and a JSON body without its values."""
    body = json.dumps({"message": "x" * 100, "w": 3})
    headers = {"Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/messages", data=BytesIO(body.encode()), headers=headers) as response,
    ):
        answered = await response.read()
        assert without_numbers(answered) == without_numbers(json.dumps(json.loads(answered)).encode()), (
            "the same spaces"
        )
        # A library names itself, which no node does.
        return response.status, set(response.headers) - {"Server"}, shape_of(json.loads(answered))


def without_numbers(text: bytes) -> bytes:
    """A number may be written with zeros at its end, or without."""
    return re.sub(rb"[0-9.]+", b"#", text)


def shape_of(value: Any) -> Any:
    match value:
        case dict():
            return {key: shape_of(inner) for key, inner in value.items()}
        case list():
            return [shape_of(inner) for inner in value]
    return type(value)


def test_the_empty_application_is_loaded_with_appends_and_takes_nothing_else(tmp_path: Path) -> None:
    with or_skipped(), EmptyApp(tmp_path / "empty") as app:
        assert_measured(app.singles(4, SECONDS))
        with pytest.raises(LoadError):
            wrk(f"{app.url}/messages", POST, clients=1, seconds=SECONDS, arguments=("application/json", "{}", "1"))


@pytest.mark.parametrize("growing", [True, False])
def test_the_disk_is_measured_and_left_as_it_was(tmp_path: Path, growing: bool) -> None:
    assert_measured(fdatasync(tmp_path / "disk", SECONDS, growing=growing))
    assert not list((tmp_path / "disk").iterdir())


def test_a_round_trip_through_the_broker_is_measured(broker: AnyBroker, tmp_path: Path) -> None:
    assert_measured(amqp_round_trip(broker.amqp_url, tmp_path / "round_trip", SECONDS))
