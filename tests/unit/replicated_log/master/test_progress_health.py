"""How the master sees its secondaries: who shows that it must not append, who is silent, who has diverged, and when."""

import pytest

from replicated_log.master.progress import MAX_OBSERVERS, Health, Progress
from replicated_log.timings import DEFAULT
from replicated_log.wire.batch import START, Position
from replicated_log.wire.delivery import DIVERGED, JOINING, ReignId
from tests.unit.builders import OTHER_LOG_ID, REIGN, make_ack, make_batches, make_fetch, make_reign

LOG = make_batches("a", ["b", "c"], "d", ["e", "f", "g"], "h")
ENDS = [START, *(batch.end for batch in LOG)]
END = ENDS[-1]


def new_progress(*secondaries: str, end: Position = END) -> Progress:
    """Of a master that has just committed all of LOG up to ``end``."""
    progress = Progress(REIGN, secondaries, START)
    progress.committed([known for known in ENDS if known.offset <= end.offset])
    return progress


def test_a_secondary_that_holds_more_is_a_conflict_until_it_does_not() -> None:
    progress = new_progress("node1", "node2", end=ENDS[1])
    progress.ack(make_ack(END, node="node2", reign=None), now=0.0)
    assert progress.conflict is not None
    assert f"node2 holds {END.offset} records" in progress.conflict
    progress.ack(make_ack(ENDS[1]), now=0.0)
    assert progress.conflict is not None
    for log_id in (None, OTHER_LOG_ID):
        progress.ack(make_ack(START, node="node2", log_id=log_id, reign=None), now=0.0)
        assert progress.conflict is not None
    progress.ack(make_ack(ENDS[1], node="node2"), now=0.0)
    assert progress.conflict is None


def test_a_conflict_ends_with_its_disk() -> None:
    progress = new_progress("node1")
    progress.ack(make_ack(END, state=DIVERGED), now=0.0)
    assert progress.conflict == "node1 holds other records"
    progress.ack(make_ack(START, disk_id="wiped", log_id=None, state=JOINING), now=0.0)
    assert progress.conflict is None


@pytest.mark.parametrize("is_recent", [True, False], ids=["recent", "old"])
def test_a_secondary_that_holds_other_records_is_a_conflict_until_its_log_matches(is_recent: bool) -> None:
    progress = new_progress("node1") if is_recent else Progress(REIGN, ["node1"], END)
    asked = progress.ack(make_ack(Position(ENDS[2].offset, b"?" * 16)), now=0.0)
    assert asked == (None if is_recent else ENDS[2].offset)
    progress.chain_read(ENDS[2].offset, ENDS[2].chain, now=0.0)
    assert f"node1 holds other records below {ENDS[2].offset}" in str(progress.conflict)
    assert progress.secondaries["node1"].health(0.0) is Health.DIVERGED
    progress.ack(make_ack(END), now=0.0)
    assert (progress.conflict, progress.held_by(2)) == (None, END.offset)


def test_a_secondary_that_holds_more_of_another_log_is_a_conflict() -> None:
    progress = new_progress("node1", end=ENDS[1])
    progress.ack(make_ack(END, log_id=OTHER_LOG_ID, reign=None), now=0.0)
    assert progress.conflict is not None
    assert OTHER_LOG_ID in progress.conflict


@pytest.mark.parametrize("begin", [START, END], ids=["new", "old"])
def test_any_records_of_another_log_are_a_conflict_however_old_the_masters_log_is(begin: Position) -> None:
    progress = Progress(REIGN, ["node1"], begin)
    progress.committed([END])
    progress.ack(make_ack(START, log_id=OTHER_LOG_ID, reign=None), now=0.0)
    assert progress.conflict is None
    progress.ack(make_ack(ENDS[1], log_id=OTHER_LOG_ID, reign=None), now=0.0)
    assert OTHER_LOG_ID in str(progress.conflict)
    assert progress.secondaries["node1"].health(0.0) is Health.DIVERGED


@pytest.mark.parametrize(
    ("followed", "epoch", "is_conflict"),
    [
        (None, 0, False),
        (None, 1, False),
        (None, 2, True),
        (REIGN, 1, False),
        (make_reign(0), 0, False),
        (make_reign(1, "rival"), 1, True),
        (make_reign(2), 2, True),
    ],
)
def test_a_secondary_that_knows_another_master_that_is_not_older_is_a_conflict(
    followed: ReignId | None, epoch: int, is_conflict: bool
) -> None:
    progress = new_progress("node1")
    progress.ack(make_ack(ENDS[1], reign=followed, epoch=epoch), now=0.0)
    assert (progress.conflict is not None) is is_conflict


def test_a_node_without_a_log_is_no_conflict_whomever_it_follows() -> None:
    progress = new_progress("node1")
    for reign in (make_reign(2, log_id=OTHER_LOG_ID), make_reign(2), make_reign(1, "rival")):
        progress.ack(make_ack(START, log_id=None, reign=reign, state=JOINING), now=0.0)
        assert progress.conflict is None


def test_what_a_stranger_holds_is_no_conflict() -> None:
    progress = new_progress("node1", end=ENDS[1])
    progress.ack(make_ack(END, node="stranger"), now=0.0)
    assert progress.conflict is None
    assert list(progress.observers) == ["stranger"]


@pytest.mark.parametrize(
    ("silence_s", "health", "alive"),
    [
        (0.0, Health.HEALTHY, 2),
        (DEFAULT.suspected_s - 0.125, Health.HEALTHY, 2),
        (DEFAULT.suspected_s, Health.SUSPECTED, 2),
        (DEFAULT.unhealthy_s - 0.125, Health.SUSPECTED, 2),
        (DEFAULT.unhealthy_s, Health.UNHEALTHY, 1),
        (1e6, Health.UNHEALTHY, 1),
    ],
)
def test_health_is_how_long_a_node_has_been_silent(silence_s: float, health: Health, alive: int) -> None:
    progress = new_progress("node1", "node2")
    progress.ack(make_ack(END), now=100.0)
    heard, unheard = progress.secondaries.values()
    assert heard.health(100.0 + silence_s) is health
    assert unheard.health(100.0 + silence_s) is Health.UNKNOWN
    assert progress.alive(100.0 + silence_s) == alive


def test_silence_never_changes_what_counts() -> None:
    progress = new_progress("node1")
    progress.ack(make_ack(END), now=0.0)
    assert progress.secondaries["node1"].health(1e6) is Health.UNHEALTHY
    assert progress.held_by(2) == END.offset


def test_a_diverged_node_is_shown_as_such_until_it_acks_this_log_again() -> None:
    progress = new_progress("node1")
    progress.ack(make_ack(ENDS[1]), now=0.0)
    progress.ack(make_ack(ENDS[1], state=DIVERGED), now=0.0)
    node = progress.secondaries["node1"]
    assert node.health(0.0) is Health.DIVERGED
    assert progress.alive(0.0) == 1
    assert node.acked_end == ENDS[1].offset
    progress.ack(make_ack(ENDS[2]), now=0.0)
    assert node.health(0.0) is Health.HEALTHY


def test_a_node_that_diverged_before_it_acked_anything_is_shown_and_stops_the_master() -> None:
    progress = new_progress("node1")
    progress.ack(make_ack(START, state=DIVERGED), now=0.0)
    assert progress.secondaries["node1"].health(0.0) is Health.DIVERGED
    assert progress.conflict == "node1 holds other records"


def test_a_new_disk_begins_with_a_clean_record() -> None:
    progress = new_progress("node1")
    progress.ack(make_ack(END), now=1.0)
    progress.ack(make_ack(END, state=DIVERGED), now=2.0)
    progress.ack(make_ack(START, disk_id="new", log_id=None, beat=2, state=JOINING), now=3.0)
    node = progress.secondaries["node1"]
    assert node.health(3.0) is Health.HEALTHY
    assert node.acked_at(0) is None
    progress.ack(make_ack(ENDS[1], disk_id="new", beat=2), now=4.0)
    assert [node.acked_at(0), node.acked_at(1)] == [4.0, None]


def test_a_fetch_is_a_sign_of_life_and_never_an_ack() -> None:
    progress = new_progress("node1")
    assert progress.fetch(make_fetch(END.offset), now=5.0)
    assert progress.secondaries["node1"].health(5.0) is Health.HEALTHY
    assert progress.secondaries["node1"].acked_end == 0


def test_only_what_this_log_has_can_be_fetched() -> None:
    progress = new_progress("node1")
    assert progress.fetch(make_fetch(0, log_id=None), 0.0)
    assert not progress.fetch(make_fetch(0, log_id=OTHER_LOG_ID), 0.0)
    assert not progress.fetch(make_fetch(END.offset + 1), 0.0)


def test_strangers_take_bounded_memory() -> None:
    progress = new_progress("node1")
    for number in range(MAX_OBSERVERS + 10):
        progress.ack(make_ack(END, node=f"stranger{number}"), now=0.0)
    assert len(progress.observers) == MAX_OBSERVERS


def test_it_is_known_when_each_node_acked_a_record() -> None:
    progress = new_progress("node1")
    progress.ack(make_ack(ENDS[1]), now=1.0)
    progress.ack(make_ack(ENDS[1]), now=1.5)
    progress.ack(make_ack(ENDS[3]), now=2.0)
    node = progress.secondaries["node1"]
    assert [node.acked_at(offset) for offset in range(5)] == [1.0, 2.0, 2.0, 2.0, None]


def test_when_a_node_acked_is_forgotten_after_a_while_rather_than_told_wrong() -> None:
    progress = Progress(REIGN, ["node1"], START)
    log = make_batches(*["x"] * 1_100)
    progress.committed([batch.end for batch in log])
    for second, batch in enumerate(log):
        progress.ack(make_ack(batch.end), now=float(second))
    node = progress.secondaries["node1"]
    assert node.acked_at(0) is None
    assert node.acked_at(1_000) == 1_000.0
