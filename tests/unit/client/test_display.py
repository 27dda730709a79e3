"""What a person sees, and that nobody else decides how."""

import pytest
from rich.console import Console

from client.answers import Ack, Appended, AppendedMany, Health, Record, SecondaryProgress
from client.display import (
    appended_line,
    appended_many_line,
    error_line,
    health_view,
    inert,
    log_heading,
    record_line,
    waiting_line,
)
from client.errors import NotReachedInTimeError, RefusedError, UnreachableError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("two\nlines\rone\ttab", "two\\nlines\\rone\\ttab"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2028\udcff\x00", "\\u2028\\udcff\\x00"),
        ("привіт 你好\u3000naïve\u00a0café", "привіт 你好\u3000naïve\u00a0café"),
        ("\U0001f469\u200d\U0001f680", "\U0001f469\u200d\U0001f680"),
    ],
)
def test_what_a_terminal_would_interpret_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert inert(text) == shown


def test_markup_in_a_message_is_text() -> None:
    line = record_line(Record(3, 1, "2026-11-22T13:51:08.123Z", "[bold red]x[/]"), end_offset=4)
    assert line.plain == "   3  2026-11-22T13:51:08.123Z  epoch 1  [bold red]x[/]"
    assert not [span for span in line.spans if "red" in str(span.style)]


def test_an_append_names_the_nodes_that_hold_it() -> None:
    line = appended_line(Appended(7, 1, 2, (Ack("master", 0.91), Ack("node1", 1003.1)), 1003.4))
    assert line.plain == "Appended at offset 7, w=2, held by master (0.9 ms), node1 (1003.1 ms)."
    many = AppendedMany(7, 3, 1, 1, (Ack("master\n", None),), 1.0)
    assert appended_many_line(many).plain == "Appended 3 messages from offset 7, w=1, held by master\\n."


def test_health_is_who_lives_and_whether_that_is_enough() -> None:
    health = Health(2, 2, 3, "the \x1b past", {"node1": "healthy", "no\nde2": "lost"})
    console = Console(width=80)
    with console.capture() as shown:
        for line in health_view(health):
            console.print(line)
    assert [line.strip() for line in shown.get().splitlines()] == [
        "The master is read-only: the \\x1b past",
        "2 of 3 nodes alive; 2 are a majority.",
        "secondary  state",
        "node1      healthy",
        "no\\nde2    lost",
    ]


def test_a_wait_shows_seconds_and_what_each_secondary_lacks() -> None:
    secondaries = [SecondaryProgress("node1", "healthy", 3, 0, 0.1), SecondaryProgress("node2", "suspected", 1, 2, 9.0)]
    assert waiting_line(12.34, 3, secondaries).plain == "Waiting for w=3  12.3 s   node1 lag 0   node2 lag 2 suspected"
    assert waiting_line(1, "all", [], "no \x1b quorum").plain == "Waiting for w=all   1.0 s   no \\x1b quorum"


def test_errors_are_one_line_and_say_whether_the_message_is_in_the_log() -> None:
    late = NotReachedInTimeError(5, acked=("master", "node1"), missing=("node2",))
    assert error_line(late).plain == ("Appended at offset 5, not acknowledged in time by node2. Held by master, node1.")
    assert error_line(RefusedError("Bad\nRequest", "w of \x1b", 400, "", "no")).plain == "Bad\\nRequest: w of \\x1b"
    lost = UnreachableError("node (http://x) did not answer.", "unknown")
    assert error_line(lost).plain == "node (http://x) did not answer. The message may have been appended."


def test_a_log_is_announced_with_its_length_and_what_is_left_out() -> None:
    assert log_heading("master", "http://x", 1, 0).plain == "master (http://x): 1 message"
    assert (
        log_heading("a\x1bb", "http://x", 1500, 500).plain
        == "a\\x1bb (http://x): 1500 messages, the first 500 not shown"
    )
