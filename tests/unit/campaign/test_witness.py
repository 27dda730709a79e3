"""The campaign's own eyes: what was seen of real logs becomes a history, and what is broken in it is found."""

import time

import pytest

from replicated_log.wire.batch import Batch
from tests.campaign.report import Report
from tests.campaign.witness import Disk, Witness
from tests.simulation.checker import check
from tests.simulation.history import Answered, Broken, Refused
from tests.unit.builders import make_batch, make_batches

A, B = make_batches("a", "b")
"""Two batches of one record each, as they are on every disk."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


class Story:
    """Two nodes; whatever happens takes a second."""

    def __init__(self, clock: list[float]) -> None:
        self._clock = clock
        self.witness = Witness("master", ("node1",), {})

    def passes(self) -> float:
        self._clock[0] += 1
        return self.witness.now()

    def asks(self, message: str, w: int, key: str | None = None, *, again: bool = False) -> int:
        self.passes()
        return self.witness.asks([message], w, key, again=again)

    def answers(self, op: int, offset: int) -> None:
        self.witness.add(Answered(self.passes(), op, offset))

    def looks(self, node: str, *batches: Batch, end: int | None = None) -> None:
        """It shows these batches after those that it has shown before."""
        began, disk = self.passes(), self.witness.disks[node]
        self.passes()
        self.witness.look(
            disk, began, batches, (batches[-1].end if batches else disk.end).offset if end is None else end
        )

    def broken(self) -> str | None:
        """What is broken if all is over now."""
        self.passes()
        self.witness.ends()
        violation = check(self.witness.history())
        return violation.rule if violation else None


@pytest.fixture
def story(clock: list[float]) -> Story:
    return Story(clock)


def test_all_is_well_when_what_was_answered_is_there(story: Story) -> None:
    first = story.asks("a", 2)
    story.answers(first, 0)
    story.answers(story.asks("b", 1), 1)
    story.looks("master", A, B)
    story.looks("node1", A, B)
    assert story.broken() is None


def test_a_lost_message_that_was_answered_is_found(story: Story) -> None:
    story.answers(story.asks("a", 2), 0)
    story.answers(story.asks("b", 2), 1)
    story.looks("master", A)
    story.looks("node1", A)
    assert story.broken() == "durable"


def test_an_answer_for_two_nodes_is_found_out_by_a_later_look_at_the_second(story: Story) -> None:
    story.answers(story.asks("a", 2), 0)
    story.looks("master", A)
    story.looks("node1")
    story.looks("node1", A)
    assert story.broken() == "durable"


def test_what_is_answered_between_two_looks_may_have_been_there_by_then(story: Story) -> None:
    op = story.asks("a", 2)
    story.looks("master")
    story.looks("node1")
    story.answers(op, 0)
    story.looks("node1", A)
    story.looks("master", A)
    assert story.broken() is None


def test_what_was_never_asked_for_is_found(story: Story) -> None:
    story.looks("master", A)
    story.looks("node1", A)
    assert story.broken() == "phantom"


def test_what_was_refused_and_is_there_all_the_same_is_found(story: Story) -> None:
    op = story.asks("a", 1)
    story.witness.add(Refused(story.passes(), op, "disk-full"))
    story.looks("master", A)
    story.looks("node1", A)
    assert story.broken() == "refused"


def test_an_answer_out_of_order_is_found(story: Story) -> None:
    story.answers(story.asks("b", 1), 1)
    story.answers(story.asks("a", 1), 0)
    story.looks("master", A, B)
    story.looks("node1", A, B)
    # For "a" is below "b", so neither was durable before somebody asked for "a".
    assert story.broken() == "durable"


def test_a_node_that_shows_less_than_before_is_found(story: Story) -> None:
    story.asks("a", 1)
    story.looks("master", A)
    story.looks("node1", A)
    story.looks("node1", end=0)
    assert story.broken() == "reads"


def test_a_node_that_is_behind_in_the_end_is_found(story: Story) -> None:
    story.asks("a", 1)
    story.looks("master", A)
    assert story.broken() == "healing"


def test_bytes_that_do_not_follow_are_found_at_once(story: Story) -> None:
    story.asks("a", 1)
    story.looks("master", make_batch("a", previous=B.end))
    assert story.witness.violations[0].startswith("agreement: master's disk 0")


def test_another_order_on_another_node_is_found(story: Story) -> None:
    story.asks("a", 1)
    story.asks("b", 1)
    story.looks("master", A, B)
    story.looks("node1", *make_batches("b", "a"))
    assert story.broken() == "agreement"


def test_what_a_wiped_disk_held_counts_until_the_master_hears_of_the_new_one(story: Story) -> None:
    story.answers(story.asks("a", 2), 0)
    story.looks("master", A)
    story.looks("node1", A)
    story.passes()
    story.witness.wiped("node1")
    late = story.asks("b", 2)
    story.looks("node1", A)
    story.passes()
    story.witness.heard()
    story.answers(late, 1)
    story.looks("master", B)
    story.looks("node1")
    story.looks("node1", B)
    assert story.broken() == "durable"


def test_a_second_process_under_a_nodes_name_counts_as_the_node_while_it_is_there(story: Story) -> None:
    op, began = story.asks("a", 2), story.passes()
    story.looks("node1")
    story.answers(op, 0)
    story.looks("master", A)
    visitor = Disk("node1", "the disk of the second", began)
    story.witness.look(visitor, story.passes(), [A], 1)
    story.looks("node1")
    story.witness.visited("node1", began, visitor)
    story.looks("node1", A)
    story.passes()
    story.witness.heard()
    assert story.broken() is None


def test_a_message_with_a_key_may_be_there_since_it_was_asked_for_first(story: Story) -> None:
    first = story.asks("a", 1, "key")
    story.witness.add(Broken(story.passes(), first))
    story.answers(story.asks("b", 1), 1)
    story.answers(story.asks("a", 1, "key", again=True), 0)
    story.looks("master", A, B)
    story.looks("node1", A, B)
    assert story.broken() is None


def test_a_message_with_a_key_was_not_there_before_it_was_refused_for_sure(story: Story) -> None:
    first = story.asks("a", 1, "key")
    story.witness.add(Refused(story.passes(), first, "down"))
    story.answers(story.asks("a", 1, "key"), 0)
    story.looks("master", A)
    story.looks("node1", A)
    assert story.broken() is None


def test_a_message_with_a_key_that_is_there_twice_is_found(story: Story) -> None:
    first = story.asks("a", 1, "key")
    story.witness.add(Broken(story.passes(), first))
    story.answers(story.asks("a", 1, "key", again=True), 1)
    twice = make_batches("a", "a")
    story.looks("master", *twice)
    story.looks("node1", *twice)
    assert story.broken() == "unique"


def test_another_message_with_a_key_that_is_taken_is_found(story: Story) -> None:
    story.answers(story.asks("a", 1, "key"), 0)
    story.answers(story.asks("b", 1, "key"), 1)
    story.looks("master", A, B)
    story.looks("node1", A, B)
    assert story.broken() == "key"


def test_a_report_names_what_is_broken_and_the_seed() -> None:
    report = Report(seed=17, violations=["durable: a message is lost"])
    report.answers.update({"201": 3, "504, appended: yes": 2})
    lines = list(report.lines())
    assert lines[0].startswith("seed 17: ")
    assert lines[1] == "appends asked for: 5, not answered 201: 2"
    assert lines[-2:] == ["violations: 1", "  durable: a message is lost"]
