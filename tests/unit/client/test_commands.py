"""The lines a person can type."""

import pytest

from client.commands import WORDS, Command, List, Plain, Send, parse


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("hello, world", Send("hello, world", "all")),
        ("w=1 a", Send("a", 1)),
        ("w=2a", Send("a", 2)),
        ("w=0 a", Send("a", 0)),
        ("w=9 a", Send("a", 9)),
        ("w=-1 a", Send("a", -1)),
        ("w=majority a", Send("a", "majority")),
        ("w=all a", Send("a", "all")),
        ("w=all", Send("", "all")),
        ("w=2", Send("", 2)),
        ("w=alligators bite", Send("w=alligators bite", "all")),
        ("w=two a", Send("w=two a", "all")),
        (" w=2 a", Send(" w=2 a", "all")),
        ("list", List(None)),
        ("list master", List(None)),
        ("list1", List(1)),
        ("list sub1", List(1)),
        ("list12", List(12)),
        ("list sub0", List(0)),
        ("  list2  ", List(2)),
        ("status", Plain.STATUS),
        ("help", Plain.HELP),
        ("stop", Plain.LEAVE),
        ("exit", Plain.LEAVE),
        ("list all my sins", Send("list all my sins", "all")),
        ("list 1", Send("list 1", "all")),
        ("stop it", Send("stop it", "all")),
    ],
)
def test_a_line_means_one_command(line: str, command: Command) -> None:
    assert parse(line) == command


@pytest.mark.parametrize("line", ["", "   ", "\t"])
def test_a_blank_line_means_nothing(line: str) -> None:
    assert parse(line) is None


@pytest.mark.parametrize("word", [*WORDS, "list1", "list sub1", "w=2 text"])
def test_anything_can_be_sent_behind_a_write_concern(word: str) -> None:
    assert parse(f"w=all {word}") == Send(word, "all")


@pytest.mark.parametrize(
    "text", ["  two blanks before and after  ", "line\nline", "\ta tab", "[bold]x[/bold]", "\x1b[31m"]
)
def test_a_message_is_kept_as_typed(text: str) -> None:
    assert parse(text) == Send(text, "all")
    assert parse(f"w=1 {text}") == Send(text, 1)


def test_a_number_of_nodes_of_any_length_is_a_number() -> None:
    command = parse(f"w={'9' * 10_000} a")
    assert isinstance(command, Send)
    assert isinstance(command.w, int)
    assert command.w > 1_000_000
