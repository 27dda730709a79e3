"""Free ports, given out to servers that do not listen yet."""

from itertools import chain

import pytest

from infra.broker import free_ports as module
from infra.broker.free_ports import free_ports, is_free, share_ports


def test_no_port_is_given_out_twice_while_there_are_others() -> None:
    given = list(chain.from_iterable(free_ports(3) for _ in range(500)))
    assert len(set(given)) == len(given)
    assert all(20_000 <= port < 32_000 for port in given)


def test_processes_that_share_the_ports_give_out_none_of_one_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TURNS", module._Turns())  # Put back at the end.
    given = []
    for part in range(3):
        share_ports(part, 3)
        given.append(set(free_ports(3000)))
    assert not given[0] & given[1] | given[0] & given[2] | given[1] & given[2]
    assert all(map(is_free, list(given[0])[:10]))
