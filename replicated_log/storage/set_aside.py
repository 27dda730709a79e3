"""Setting a log aside, so that its node can start anew."""

from pathlib import Path

from replicated_log.storage.directory_lock import holding


class SetAsideError(Exception):
    """Raised when there is nothing to set aside."""


def set_aside(directory: Path) -> Path:
    """Rename the data directory of a node that does not run, and return its new name. Nothing is deleted.

    Raises SetAsideError when there is none, LogInUseError when a process has it open.
    """
    if not directory.is_dir():
        raise SetAsideError(f"there is no log in {directory}")
    number = 1
    while (aside := directory.with_name(f"{directory.name}.aside-{number}")).exists():
        number += 1
    with holding(directory, "set-aside"):
        return directory.rename(aside)
