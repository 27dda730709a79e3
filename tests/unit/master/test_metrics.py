"""How long it took until w nodes had a batch, from the oldest request in it."""

from collections.abc import Sequence

import pytest

import master.metrics
from master.metrics import OBSERVER, MasterMetrics
from replicated_log.master.progress import Progress
from replicated_log.wire.batch import START, Batch
from tests.unit.builders import REIGN, make_ack, make_batches, make_fetch

LOG = make_batches("a", "b", "c")


class Measured:
    """A master with node1 and node2, and what it has measured."""

    def __init__(self) -> None:
        self.progress = Progress(REIGN, ["node1", "node2"], START)
        self.metrics = MasterMetrics(self.progress)

    def commit(self, batches: Sequence[Batch], now: float) -> None:
        self.progress.committed([batch.end for batch in batches])
        self.metrics.committed(batches, 0.25, now)

    def ack(self, node: str, batch: Batch, now: float) -> None:
        ack = make_ack(batch.end, node=node)
        self.progress.ack(ack, now)
        self.metrics.received(ack, now)

    def times(self, w: int) -> tuple[float, float]:
        """How many batches were on w nodes, and after how many seconds in all."""
        count, total = (
            self.metrics.registry.get_sample_value(f"replog_write_concern_seconds_{what}", {"w": str(w)})
            for what in ("count", "sum")
        )
        assert count is not None
        assert total is not None
        return count, total


def test_a_batch_is_timed_from_its_oldest_request_to_each_copy() -> None:
    measured = Measured()
    for requested in (10.5, 10.0, 10.75):
        measured.metrics.appended(requested)
    measured.commit(LOG[:1], now=11.0)
    assert [measured.times(w) for w in (1, 2, 3)] == [(1, 1.0), (0, 0.0), (0, 0.0)]
    measured.ack("node2", LOG[0], now=13.0)
    assert [measured.times(w) for w in (1, 2, 3)] == [(1, 1.0), (1, 3.0), (0, 0.0)]
    measured.ack("node1", LOG[0], now=15.0)
    assert [measured.times(w) for w in (1, 2, 3)] == [(1, 1.0), (1, 3.0), (1, 5.0)]


def test_one_ack_may_end_many_waits_and_a_repeated_one_ends_none() -> None:
    measured = Measured()
    for now, batch in zip((1.0, 2.0, 3.0), LOG, strict=True):
        measured.metrics.appended(now)
        measured.commit([batch], now)
    for now in (4.0, 5.0):
        measured.ack("node1", LOG[2], now)
    assert measured.times(2) == (3, 3.0 + 2.0 + 1.0)


def test_when_nobody_waits_any_more_the_commit_itself_is_timed() -> None:
    measured = Measured()
    measured.commit(LOG[:1], now=1.0)
    assert measured.times(1) == (1, 0.25)


def test_while_a_secondary_is_down_the_batches_that_wait_for_it_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(master.metrics, "MAX_AWAITED", 2)
    measured = Measured()
    for batch in LOG:
        measured.commit([batch], now=1.0)
    measured.ack("node1", LOG[2], now=2.0)
    assert measured.times(2)[0] == 2


def test_names_that_are_not_configured_do_not_become_labels() -> None:
    measured = Measured()
    for name in ("x", "y"):
        measured.metrics.received(make_fetch(0, node=name), 1.0)
    value = measured.metrics.registry.get_sample_value("replog_fetches_received_total", {"secondary": OBSERVER})
    assert value == 2
