"""What is said on the command line, and by which exit code it ends."""

import pytest

from client import script
from client.errors import (
    EndMismatchError,
    NoConnectionError,
    NodeError,
    NotReachedInTimeError,
    RefusedError,
    UnexpectedAnswerError,
    UnreachableError,
)
from client.options import read_options

ENVIRON = {"REPLOG_MASTER_URL": "http://m:1", "REPLOG_SECONDARY_URLS": "http://s:1, s:2,"}


@pytest.mark.parametrize(
    ("line", "environ", "master", "secondaries"),
    [
        ("", {}, "http://localhost:8000", ["http://localhost:8080", "http://localhost:8090"]),
        ("", ENVIRON, "http://m:1", ["http://s:1", "http://s:2"]),
        ("status", ENVIRON, "http://m:1", ["http://s:1", "http://s:2"]),
        ("--master a --secondary b --secondary c", ENVIRON, "http://a", ["http://b", "http://c"]),
        ("--master a status --secondary b", ENVIRON, "http://a", ["http://b"]),
        ("--master a --secondary b status", ENVIRON, "http://a", ["http://b"]),
        ("--master a status --master b", ENVIRON, "http://b", ["http://s:1", "http://s:2"]),
        ("", {"REPLOG_SECONDARY_URLS": ""}, "http://localhost:8000", []),
    ],
)
def test_options_count_before_the_environment_wherever_they_are(
    line: str, environ: dict[str, str], master: str, secondaries: list[str]
) -> None:
    options = read_options(line.split(), environ)
    assert (options.master, options.secondary) == (master, secondaries)


def test_without_a_command_it_is_the_terminal() -> None:
    assert read_options([], {}).command is None
    assert read_options(["append", "status"], {}).command is script.append


def test_an_environment_that_is_no_url_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        read_options([], {"REPLOG_SECONDARY_URLS": "ftp://x"})
    assert "REPLOG_SECONDARY_URLS" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RefusedError("Bad Request", "", 400, "", "no"), 1),
        (RefusedError("Unavailable", "", 503, "", "no", "safe"), 1),
        (EndMismatchError("Precondition Failed", "", 412, "", "no"), 1),
        (NotReachedInTimeError(0, (), ()), 3),
        (NoConnectionError("gone", "no", "safe"), 4),
        (UnreachableError("gone", "unknown", "same-key"), 4),
        (UnexpectedAnswerError("what?", "no"), 4),
        (RefusedError("Gateway Timeout", "", 504, "commit-timeout", "unknown", "same-key"), 4),
    ],
)
def test_what_became_of_it_is_the_exit_code(error: NodeError, code: int) -> None:
    assert script.exit_code(error) == code
