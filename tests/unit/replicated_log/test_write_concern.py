from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicated_log.write_concern import ALL, MAJORITY, InvalidWriteConcernError, clamp, majority, resolve, split_prefix

NODES = st.integers(1, 9)


@pytest.mark.parametrize("nodes", range(1, 7))
def test_a_majority_is_the_smallest_size_at_which_any_two_groups_share_a_node(nodes: int) -> None:
    def always_share(size: int) -> bool:
        groups = [set(group) for group in combinations(range(nodes), size)]
        return all(one & other for one in groups for other in groups)

    assert majority(nodes) == next(size for size in range(1, nodes + 1) if always_share(size))


@given(NODES)
def test_each_number_from_one_to_all_means_itself_as_number_and_as_text(nodes: int) -> None:
    for w in range(1, nodes + 1):
        assert resolve(w, nodes) == resolve(str(w), nodes) == clamp(w, nodes) == clamp(str(w), nodes) == w
    assert resolve(ALL, nodes) == clamp(ALL, nodes) == nodes
    assert resolve(MAJORITY, nodes) == clamp(MAJORITY, nodes) == majority(nodes)


@given(st.integers() | st.integers().map(str), NODES)
def test_a_number_out_of_range_is_refused_or_clamped(asked: int | str, nodes: int) -> None:
    number = int(asked)
    assert clamp(asked, nodes) == sorted([1, number, nodes])[1]
    if not 1 <= number <= nodes:
        with pytest.raises(InvalidWriteConcernError):
            resolve(asked, nodes)


@pytest.mark.parametrize("asked", ["", "two", "ALL", "2.0", " 2", "+2", "--2", "2 ", "٢", "w=2", True, False])
def test_nonsense_is_refused(asked: int | str) -> None:
    for meaning in (resolve, clamp):
        with pytest.raises(InvalidWriteConcernError):
            meaning(asked, 3)


def test_a_megabyte_of_digits_is_answered_at_once() -> None:
    assert clamp("9" * 1_000_000, 3) == 3
    assert clamp("-" + "9" * 1_000_000, 3) == 1
    with pytest.raises(InvalidWriteConcernError):
        resolve("9" * 1_000_000, 3)


@pytest.mark.parametrize("asked", [10**5_000, -(10**5_000)], ids=["huge", "far below zero"])
def test_a_number_of_any_length_is_refused_properly(asked: int) -> None:
    with pytest.raises(InvalidWriteConcernError, match="w must be 1 to 3"):
        resolve(asked, 3)
    assert clamp(asked, 3) == (3 if asked > 0 else 1)


def test_leading_zeros_mean_nothing() -> None:
    assert resolve("0" * 1_000 + "2", 3) == clamp("0" * 1_000 + "2", 3) == 2
    assert clamp("-" + "0" * 1_000 + "2", 3) == clamp("0" * 1_000, 3) == 1


@pytest.mark.parametrize(
    ("text", "w", "message"),
    [
        ("w=2 text", "2", "text"),
        ("w=2text", "2", "text"),
        ("w=2  text", "2", " text"),
        ("w=2 two\nlines\n", "2", "two\nlines\n"),
        ("w=2", "2", ""),
        ("w=-1 text", "-1", "text"),
        ("w=007 text", "007", "text"),
        ("w=majority text", "majority", "text"),
        ("w=all text", "all", "text"),
        ("w=all w=2 text", "all", "w=2 text"),
        ("text", None, "text"),
        ("", None, ""),
        (" w=2 text", None, " w=2 text"),
        ("W=2 text", None, "W=2 text"),
        ("w = 2 text", None, "w = 2 text"),
        ("w=two text", None, "w=two text"),
        ("w=٢ text", None, "w=٢ text"),
        ("w= text", None, "w= text"),
        ("w=allow me", None, "w=allow me"),
        ("w=majority_ text", None, "w=majority_ text"),
        ("w=all2 text", None, "w=all2 text"),
        ("w=all", "all", ""),
        ("w=all, text", "all", ", text"),
    ],
)
def test_the_prefix_is_split_from_the_message(text: str, w: str | None, message: str) -> None:
    assert split_prefix(text) == (w, message)


@given(st.integers(), st.text())
def test_every_message_can_be_sent_behind_a_prefix(w: int, message: str) -> None:
    assert split_prefix(f"w={w} {message}") == (str(w), message)
