from pathlib import Path

import pytest

from replicated_log.storage.directory_lock import holding
from replicated_log.wire.errors import LogInUseError


def test_a_held_directory_is_refused_with_the_holders_name_and_free_again_afterwards(tmp_path: Path) -> None:
    for holder in ("the first and longest of all", "second"):
        with (
            holding(tmp_path, holder),
            pytest.raises(LogInUseError, match=f"in use by {holder}, process"),
            holding(tmp_path, "another"),
        ):
            pass


def test_a_holder_that_fails_lets_go(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), holding(tmp_path, "first"):
        raise ZeroDivisionError
    with holding(tmp_path, "second"):
        pass
