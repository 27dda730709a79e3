"""The benchmark's experiments with our log alone, so short that they tell nothing but that they work."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import broker_restart, catch_up, following, memory, reading, slow_secondary
from tests.bench.debian import find_program
from tests.bench.ours import Ours
from tests.bench.peer import MissingPeerError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ours]:
    with Ours(tmp_path_factory.mktemp("bench") / "ours") as ours:
        yield ours


@pytest.fixture
def wrk() -> None:
    """For what wrk loads."""
    try:
        find_program("wrk", package="wrk")
    except MissingPeerError as missing:
        pytest.skip(str(missing))


def test_every_record_is_read_in_each_run(ours: Ours) -> None:
    figures = reading.measure(ours, records=2500, runs=2)
    assert figures.records == 2500
    assert len(figures.rates) == 2
    assert figures.rate > 0


@pytest.mark.usefixtures("wrk")
def test_every_follower_gets_every_record(ours: Ours) -> None:
    figures = following.measure(ours, followers=2, clients=2, seconds=0.3)
    assert figures.records > 1000
    assert figures.written > 0
    assert figures.delivered > 0
    assert figures.behind_s > -1


@pytest.mark.parametrize("batch_records", [1000, 1])
def test_an_empty_secondary_catches_up(ours: Ours, tmp_path: Path, batch_records: int) -> None:
    figures = catch_up.measure(ours, tmp_path / "late", records=3000, batch_records=batch_records, runs=2)
    assert (figures.records, figures.batch_records) == (3000, batch_records)
    assert len(figures.fetching) == len(figures.starting) == 2
    assert figures.rate > figures.rate_from_start > 0


@pytest.mark.usefixtures("wrk")
def test_appends_go_on_while_a_secondary_is_dead_or_slow(ours: Ours) -> None:
    figures = slow_secondary.measure(ours, clients=4, seconds=0.2, rounds=1)
    assert min(*figures.healthy, *figures.dead, *figures.slow) > 0
    assert figures.dead_ratio > 0
    assert figures.slow_ratio > 0


def test_an_append_is_answered_after_the_broker_has_restarted(ours: Ours) -> None:
    figures = broker_restart.measure(ours, runs=1)
    assert len(figures.seconds) == 1
    assert figures.median_s > 0


def test_memory_is_seen_of_every_process_that_lives(tmp_path: Path) -> None:
    stages = memory.measure(tmp_path / "own", lengths=(2000, 5000), backlogs=(1500, 2500))
    assert [stage.records for stage in stages] == [0, 2000, 5000, 6500, 7500]
    assert [stage.backlog for stage in stages] == [0, 0, 0, 1500, 2500]
    everybody = {"master", "b", "c", "broker"}
    assert [set(stage.processes) for stage in stages] == [everybody] * 3 + [everybody - {"c"}] * 2
    assert all(one.peak_mib >= one.resident_mib > 0 for stage in stages for one in stage.processes.values())
