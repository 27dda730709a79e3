"""What came too early waits within bounds, each batch for its own turn and its own sender."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from replicated_log.secondary.reorder_buffer import ReorderBuffer
from replicated_log.wire.batch import Batch
from replicated_log.wire.delivery import ReignId
from tests.unit.builders import OTHER_LOG_ID, REIGN, make_batches, make_reign

LOG = make_batches("a", ["b", "c"], "d" * 100, "e", ["f", "g"])
NEWER = make_reign(2)
FOREIGN = make_reign(2, log_id=OTHER_LOG_ID)
SIZES = [len(batch.data) for batch in LOG]


def test_a_batch_is_given_out_once_at_its_own_offset_only() -> None:
    early = ReorderBuffer(1 << 20)
    assert early.keep(REIGN, LOG[1])
    assert [early.take(REIGN, offset) for offset in (0, 2, 3)] == [None] * 3
    assert early.take(REIGN, 1) == LOG[1]
    assert early.take(REIGN, 1) is None


def test_the_first_to_come_stays_whoever_sent_it() -> None:
    (other,) = make_batches("other", epoch=2)
    early = ReorderBuffer(1 << 20)
    assert early.keep(REIGN, LOG[0])
    assert not early.keep(REIGN, LOG[0])
    assert not early.keep(NEWER, other)
    assert early.take(REIGN, 0) == LOG[0]
    assert early.keep(NEWER, other)


def test_what_one_reign_sent_is_not_given_out_as_anothers() -> None:
    early = ReorderBuffer(1 << 20)
    early.keep(NEWER, LOG[0])
    assert early.take(REIGN, 0) is None
    assert early.take(FOREIGN, 0) is None
    assert early.take(NEWER, 0) == LOG[0]


def test_there_is_room_to_the_last_byte_and_what_was_taken_makes_room() -> None:
    early = ReorderBuffer(sum(SIZES[:3]))
    assert all(early.keep(REIGN, batch) for batch in LOG[:3])
    assert not early.keep(REIGN, LOG[3])
    early.take(REIGN, LOG[0].first_offset)
    assert early.keep(REIGN, LOG[3])
    assert not ReorderBuffer(SIZES[0] - 1).keep(REIGN, LOG[0])


def test_what_has_become_late_makes_room() -> None:
    early = ReorderBuffer(sum(SIZES))
    for batch in LOG:
        early.keep(REIGN, batch)
    early.drop_below(LOG[3].first_offset)
    assert [early.take(REIGN, batch.first_offset) for batch in LOG] == [None, None, None, LOG[3], LOG[4]]


def test_only_the_followed_reign_is_kept() -> None:
    early = ReorderBuffer(sum(SIZES))
    for batch, reign in zip(LOG, (REIGN, NEWER, FOREIGN, NEWER, REIGN), strict=True):
        early.keep(reign, batch)
    early.drop_others(NEWER)
    for batch, reign in zip(LOG, (REIGN, NEWER, FOREIGN, NEWER, REIGN), strict=True):
        assert early.take(reign, batch.first_offset) == (batch if reign == NEWER else None)


REIGNS = st.sampled_from([REIGN, NEWER, FOREIGN])
BATCHES = st.sampled_from(LOG)
OFFSETS = st.integers(0, LOG[-1].end.offset)
ROOM = 3 * SIZES[0]


class AgainstAList(RuleBasedStateMachine):
    """The same as a plain list, searched from the front and measured anew each time."""

    def __init__(self) -> None:
        super().__init__()
        self.early = ReorderBuffer(ROOM)
        self.kept: list[tuple[ReignId, Batch]] = []

    @rule(reign=REIGNS, batch=BATCHES)
    def keep(self, reign: ReignId, batch: Batch) -> None:
        size = sum(len(other.data) for _, other in self.kept) + len(batch.data)
        fits = size <= ROOM and all(other.first_offset != batch.first_offset for _, other in self.kept)
        assert self.early.keep(reign, batch) is fits
        if fits:
            self.kept.append((reign, batch))

    @rule(reign=REIGNS, offset=OFFSETS)
    def take(self, reign: ReignId, offset: int) -> None:
        found = [pair for pair in self.kept if pair[0] == reign and pair[1].first_offset == offset]
        assert self.early.take(reign, offset) == (found[0][1] if found else None)
        self.kept = [pair for pair in self.kept if pair not in found]

    @rule(offset=OFFSETS)
    def drop_below(self, offset: int) -> None:
        self.early.drop_below(offset)
        while self.kept and self.kept[0][1].first_offset < offset:
            del self.kept[0]

    @rule(reign=REIGNS)
    def drop_others(self, reign: ReignId) -> None:
        self.early.drop_others(reign)
        self.kept = [pair for pair in self.kept if pair[0] == reign]

    @rule()
    def clear(self) -> None:
        self.early.clear()
        self.kept.clear()

    @invariant()
    def memory_is_bounded(self) -> None:
        assert sum(len(batch.data) for _, batch in self.kept) <= ROOM


TestAgainstAList = AgainstAList.TestCase
TestAgainstAList.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
