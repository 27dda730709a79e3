"""``python -m master`` runs the master, ``python -m master restore URL ...`` gives it back a lost log.

Settings come from the environment, see the README.
"""

import os
import sqlite3
import sys

from master.restore import RestoreError, restore
from master.server import MasterSettings, run
from node.process import run_process
from node.settings import InvalidSettingError, read_flag, read_names, read_node_settings, read_write_concern
from replicated_log.storage.set_aside import SetAsideError
from replicated_log.wire.errors import CorruptLogError, DiskFullError, LogInUseError, WrongLogError

USAGE = "usage: python -m master [restore URL-OF-A-SECONDARY ...]"
IF_CORRUPT = "`python -m master restore URL-OF-A-SECONDARY ...` sets it aside and copies the log from a secondary"


def main(arguments: list[str]) -> int:
    try:
        settings = _settings()
    except InvalidSettingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    match arguments:
        case []:
            return run_process(
                lambda stop: run(settings, stop), log_level=settings.node.log_level, if_corrupt=IF_CORRUPT
            )
        case ["restore", *urls] if urls:
            return _restore(settings, urls)
        case _:
            sys.stderr.write(f"{USAGE}\n")
            return 2


def _settings() -> MasterSettings:
    node = read_node_settings(os.environ, name="master", http="127.0.0.1:8000")
    secondaries = read_names(os.environ, "NODE_NAMES")
    if node.name in secondaries:
        raise InvalidSettingError(f"NODE_NAMES: {node.name!r} is the master's own name")
    return MasterSettings(
        node=node,
        secondaries=secondaries,
        require_quorum=read_flag(os.environ, "REQUIRE_QUORUM"),
        default_w=read_write_concern(os.environ, nodes=1 + len(secondaries)),
    )


def _restore(settings: MasterSettings, urls: list[str]) -> int:
    try:
        report = restore(settings.node.data, settings.node.name, urls)
    except (
        RestoreError,
        SetAsideError,
        LogInUseError,
        WrongLogError,
        CorruptLogError,
        DiskFullError,
        OSError,
        sqlite3.Error,
    ) as error:
        sys.stderr.write(f"nothing restored: {error}\n")
        return 1
    sys.stdout.write(f"{report}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
