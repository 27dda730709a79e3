from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from replicated_log.master.progress import Health, Progress
from replicated_log.wire.batch import START, Position
from replicated_log.wire.delivery import DIVERGED, FOLLOWING, JOINING, Ack, ReignId
from tests.unit.builders import LOG_ID, OTHER_LOG_ID, REIGN, make_ack, make_batches, make_reign

LOG = make_batches("a", ["b", "c"], "d", ["e", "f", "g"], "h")
ENDS = [START, *(batch.end for batch in LOG)]
END = ENDS[-1]
CHAINS = {end.offset: end.chain for end in ENDS}
NODES = ["node1", "node2", "node3"]


def at(offset: int) -> Position:
    """The true position, where a batch ends; elsewhere one that no log has."""
    return Position(offset, CHAINS.get(offset, b"?" * 16))


def receive(progress: Progress, ack: Ack, now: float = 0.0) -> None:
    """Take an ack, with a log at hand to read chains from."""
    asked = progress.ack(ack, now)
    if asked is not None:
        progress.chain_read(asked, CHAINS.get(asked), now)


def ends(progress: Progress) -> list[int]:
    return [node.acked_end for node in progress.secondaries.values()]


ACKS = st.builds(
    Ack,
    node=st.sampled_from([*NODES, "stranger"]),
    disk_id=st.sampled_from(["disk-1", "disk-2", "disk-3"]),
    log_id=st.sampled_from([LOG_ID, LOG_ID, LOG_ID, OTHER_LOG_ID, None]),
    epoch=st.integers(0, 2),
    beat=st.integers(0, 6),
    reign=st.sampled_from([REIGN, REIGN, REIGN, make_reign(0), make_reign(1, "rival"), make_reign(2), None]),
    acked=st.builds(at, st.integers(0, END.offset + 1)),
    state=st.sampled_from([FOLLOWING, FOLLOWING, JOINING, DIVERGED]),
)


class AgainstAllAcksEverReceived(RuleBasedStateMachine):
    """The count kept as one integer per node, and the count made anew each time from all that was ever received."""

    @initialize(batches=st.integers(0, len(LOG)))
    def begin(self, batches: int) -> None:
        self.batches = batches
        self.progress = Progress(REIGN, NODES, ENDS[batches])
        self.received: list[tuple[Ack, int, int]] = []

    @rule(count=st.integers(1, 2))
    def commit(self, count: int) -> None:
        ends = ENDS[self.batches + 1 : self.batches + 1 + count]
        if ends:
            self.progress.committed(ends)
            self.batches += len(ends)

    @rule()
    def beat(self) -> None:
        self.progress.beats += 1

    @rule(ack=ACKS)
    def ack(self, ack: Ack) -> None:
        self.received.append((ack, ENDS[self.batches].offset, self.progress.beats))
        receive(self.progress, ack)

    def held_on_the_living_disk(self, node: str) -> int:
        """The most that was acked since acks of two disks came, by the first disk to hear a beat sent after that."""
        living, since, held = None, 0, 0
        for ack, master_end, beats in self.received:
            if ack.node != node or ack.reign != REIGN:
                continue
            if living not in {None, ack.disk_id}:
                living, since, held = None, beats + 1, 0
            if living is None and ack.beat >= since:
                living = ack.disk_id
            sound = ack.log_id == LOG_ID and ack.state != DIVERGED and ack.acked in ENDS and ack.epoch <= REIGN.epoch
            if sound and living is not None and ack.acked.offset <= master_end:
                held = max(held, ack.acked.offset)
        return held

    @invariant()
    def counts_are_equal(self) -> None:
        held = [self.held_on_the_living_disk(node) for node in NODES]
        assert ends(self.progress) == held
        for w in range(1, 5):
            held_by_w = max(
                end for end in range(END.offset + 1) if copies(end, [ENDS[self.batches].offset, *held]) >= w
            )
            assert self.progress.held_by(w) == held_by_w
        assert self.progress.committed_end == self.progress.held_by(3)


def copies(end: int, held: Sequence[int]) -> int:
    return sum(other >= end for other in held)


TestAgainstAllAcksEverReceived = AgainstAllAcksEverReceived.TestCase
TestAgainstAllAcksEverReceived.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)


@pytest.mark.parametrize(
    "ack",
    [
        make_ack(END, log_id=OTHER_LOG_ID),
        make_ack(END, log_id=None),
        make_ack(END, reign=make_reign(0)),
        make_ack(END, reign=make_reign(1, "rival")),
        make_ack(END, reign=make_reign(2)),
        make_ack(END, reign=None),
        make_ack(END, state=DIVERGED),
        make_ack(Position(END.offset, b"?" * 16)),
        make_ack(Position(END.offset + 1, END.chain)),
        make_ack(Position(ENDS[1].offset + 1, ENDS[1].chain)),
        make_ack(END, node="observer"),
    ],
    ids=[
        "other log",
        "no log",
        "older reign",
        "rival reign",
        "newer reign",
        "no reign",
        "diverged",
        "other chain",
        "beyond the end",
        "inside a batch",
        "not configured",
    ],
)
def test_such_an_ack_never_counts(ack: Ack) -> None:
    progress = Progress(REIGN, ["node1", "node2"], END)
    receive(progress, ack)
    assert ends(progress) == [0, 0]
    assert [progress.held_by(w) for w in (1, 2, 3)] == [END.offset, 0, 0]
    receive(progress, make_ack(ENDS[2], node="node2"))
    assert [progress.held_by(w) for w in (1, 2, 3)] == [END.offset, ENDS[2].offset, 0]


def test_after_a_restart_nobody_holds_anything_until_the_first_ack() -> None:
    progress = Progress(REIGN, ["node1"], END)
    assert (progress.committed_end, progress.held_by(2)) == (0, 0)
    receive(progress, make_ack(END))
    assert progress.committed_end == END.offset
    assert progress.held_by(2) == END.offset


def test_a_master_alone_is_a_majority() -> None:
    progress = Progress(REIGN, [], END)
    assert (progress.nodes, progress.committed_end, progress.alive(0.0)) == (1, END.offset, 1)


def test_the_chain_of_an_old_place_is_asked_for_before_an_ack_there_counts() -> None:
    progress = Progress(REIGN, ["node1"], END)
    assert progress.ack(make_ack(ENDS[2]), 0.0) == ENDS[2].offset
    assert ends(progress) == [0]
    progress.chain_read(ENDS[1].offset, ENDS[1].chain, 0.0)
    assert ends(progress) == [0]
    progress.chain_read(ENDS[2].offset, ENDS[2].chain, 0.0)
    assert ends(progress) == [ENDS[2].offset]


@pytest.mark.parametrize("chain", [None, ENDS[1].chain], ids=["no batch ends there", "another chain"])
def test_an_ack_that_the_log_itself_belies_does_not_count_and_shows_divergence(chain: bytes | None) -> None:
    progress = Progress(REIGN, ["node1"], END)
    progress.ack(make_ack(ENDS[2]), 0.0)
    progress.chain_read(ENDS[2].offset, chain, 0.0)
    assert ends(progress) == [0]
    assert progress.secondaries["node1"].health(0.0) is Health.DIVERGED


def test_a_chain_that_was_asked_for_an_ack_of_a_retired_disk_counts_nothing() -> None:
    progress = Progress(REIGN, ["node1"], END)
    progress.ack(make_ack(ENDS[2], disk_id="old"), 0.0)
    progress.ack(make_ack(START, disk_id="new", beat=2), 0.0)
    progress.chain_read(ENDS[2].offset, ENDS[2].chain, 0.0)
    assert ends(progress) == [0]


def test_an_empty_chain_does_not_count_where_no_batch_ends() -> None:
    progress = Progress(REIGN, ["node1"], END)
    receive(progress, make_ack(Position(ENDS[1].offset + 1, b"")))
    assert ends(progress) == [0]


def test_acks_that_keep_coming_do_not_keep_each_other_from_counting() -> None:
    log = make_batches(*"abcdef")
    progress = Progress(REIGN, ["node1"], log[-1].end)
    reading = None
    for batch in log[:4]:
        asked = progress.ack(make_ack(batch.end), 0.0)
        if reading is not None:
            progress.chain_read(reading, log[reading - 1].chain, 0.0)
        reading = asked
    assert ends(progress) == [3]


def test_a_chain_that_may_never_be_read_is_asked_for_again_after_the_connection_was_lost() -> None:
    progress = Progress(REIGN, ["node1"], END)
    for _ in range(2):
        assert progress.ack(make_ack(ENDS[1]), 0.0) == ENDS[1].offset
        assert progress.ack(make_ack(ENDS[2]), 0.0) is None
        progress.connection_lost()
    progress.chain_read(ENDS[1].offset, ENDS[1].chain, 0.0)
    assert ends(progress) == [0]


def test_recent_chains_need_no_reading_and_all_others_do() -> None:
    progress = Progress(REIGN, ["node1"], START)
    log = make_batches(*["x"] * 5_000)
    progress.committed([batch.end for batch in log])
    assert progress.ack(make_ack(log[100].end), 0.0) == log[100].end.offset
    assert progress.ack(make_ack(log[4_000].end), 0.0) is None
    assert ends(progress) == [4_001]


def test_once_acks_of_two_disks_came_none_counts_until_one_has_heard_a_later_beat() -> None:
    progress = Progress(REIGN, ["node1"], END)
    progress.beats = 5
    receive(progress, make_ack(END, disk_id="old", beat=5))
    for disk_id in ("new", "old", "new", "old"):
        receive(progress, make_ack(END, disk_id=disk_id, beat=5), now=1.0)
        assert ends(progress) == [0]
        assert progress.secondaries["node1"].last_seen == 0.0
    progress.beats = 6
    receive(progress, make_ack(ENDS[1], disk_id="new", beat=6), now=2.0)
    assert ends(progress) == [ENDS[1].offset]
    assert progress.secondaries["node1"].last_seen == 2.0


def test_a_beat_that_was_sent_before_the_second_disk_was_seen_tells_nothing() -> None:
    progress = Progress(REIGN, ["node1"], END)
    progress.beats = 9
    receive(progress, make_ack(END, disk_id="old", beat=1))
    receive(progress, make_ack(ENDS[1], disk_id="new", beat=9))
    assert ends(progress) == [0]
    receive(progress, make_ack(ENDS[1], disk_id="new", beat=10))
    assert ends(progress) == [ENDS[1].offset]


def test_what_is_on_its_way_of_the_retired_disk_never_counts_for_the_new_one() -> None:
    progress = Progress(REIGN, ["node1"], END)
    receive(progress, make_ack(END, disk_id="old", beat=0))
    receive(progress, make_ack(START, disk_id="new", beat=0))
    progress.beats = 1
    receive(progress, make_ack(ENDS[1], disk_id="new", beat=1))
    receive(progress, make_ack(END, disk_id="old", beat=1))
    assert ends(progress) == [0]
    receive(progress, make_ack(ENDS[1], disk_id="new", beat=1))
    assert ends(progress) == [0]
    receive(progress, make_ack(ENDS[1], disk_id="new", beat=2))
    assert ends(progress) == [ENDS[1].offset]


@pytest.mark.parametrize("reign", [None, make_reign(0), make_reign(2)], ids=["none", "older", "newer"])
def test_a_disk_that_follows_another_reign_does_not_retire_the_one_that_follows_this(reign: ReignId | None) -> None:
    progress = Progress(REIGN, ["node1"], END)
    receive(progress, make_ack(END, disk_id="right", beat=1))
    receive(progress, make_ack(START, disk_id="other", reign=reign, beat=9))
    assert ends(progress) == [END.offset]
