"""A session with the broker is tried for, again and again, at one address after the other."""

import logging

import pytest
from yarl import URL

from infra.aio.tasks import beside
from infra.broker.free_ports import free_ports
from infra.rabbitmq.choice import FAST
from infra.rabbitmq.reconnecting import keep_session
from infra.rabbitmq.session import Session
from replicated_log.timings import DEFAULT
from tests.cluster import eventually


async def test_addresses_take_turns_and_the_first_failure_of_each_is_told(caplog: pytest.LogCaptureFixture) -> None:
    addresses = [f"amqp://127.0.0.1:{port}/" for port in free_ports(3)]
    caplog.set_level(logging.DEBUG, logger=keep_session.__module__)
    urls = [str(URL(address).with_user("user").with_password("secret")) for address in addresses]

    async def never(_: Session) -> None:
        raise AssertionError("nobody listens there")

    async with beside(keep_session(urls, "node", never, never, timings=DEFAULT, way=FAST)):
        await eventually(lambda: len(failures(caplog)) >= 5, "each is tried, and two once more")
    levels, texts = zip(*failures(caplog)[:5], strict=True)
    assert list(levels) == [logging.WARNING] * 3 + [logging.DEBUG] * 2
    for text, address in zip(texts, [*addresses, *addresses], strict=False):
        assert address in text
    assert "secret" not in caplog.text


def failures(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(one.levelno, one.getMessage()) for one in caplog.records if "no session" in one.getMessage()]
