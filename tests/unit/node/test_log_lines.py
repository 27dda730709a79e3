import logging
import sys

import pytest

from node.log_lines import ExceptionInfo, LogLines, printable


def formatted(message: str, *arguments: object, exc_info: ExceptionInfo | None = None) -> str:
    record = logging.LogRecord("infra.http", logging.INFO, __file__, 1, message, arguments, exc_info)
    return LogLines().format(record)


def test_a_line_is_left_as_it_is() -> None:
    assert formatted("the node %s, été", "node1").endswith(" INFO    infra.http: the node node1, été")


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("a\nb", r"a\nb"),
        ("a\r\x1b[31mb", r"a\r\x1b[31mb"),
        ("\x00\x7f\x9b", r"\x00\x7f\x9b"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\ud800", r"\ud800"),
    ],
)
def test_nothing_foreign_breaks_a_line_or_moves_the_cursor(foreign: str, shown: str) -> None:
    assert printable(foreign) == shown
    assert formatted("dropped: %s", foreign).endswith(f"dropped: {shown}")


def test_what_an_exception_says_can_not_be_taken_for_an_event() -> None:
    try:
        raise ValueError("first\n12:00:00 INFO    master: forged\x1b[2J")
    except ValueError:
        lines = formatted("failed", exc_info=sys.exc_info()).splitlines()
    assert lines[0].endswith("failed")
    assert lines[1] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") and line.isprintable() for line in lines[1:])
