"""``python -m secondary`` runs a secondary, ``python -m secondary set-aside`` lets it start anew.

Settings come from the environment, see the README.
"""

import os
import sys

from node.process import run_process
from node.settings import InvalidSettingError, read_delay, read_flag, read_node_settings
from replicated_log.storage.set_aside import SetAsideError, set_aside
from replicated_log.wire.errors import LogInUseError
from secondary.server import SecondarySettings, run
from secondary.simulation import Effects

USAGE = "usage: python -m secondary [set-aside]"
IF_CORRUPT = "`python -m secondary set-aside` renames it, and the next start fetches the log anew"


def main(arguments: list[str]) -> int:
    try:
        node = read_node_settings(os.environ, name="node1", http="127.0.0.1:8080")
        settings = SecondarySettings(
            node=node,
            effects=Effects(
                ack_delay_s=read_delay(os.environ, "LATENCY"),
                persist_delay_s=read_delay(os.environ, "PERSIST_DELAY"),
            ),
            allow_simulation=read_flag(os.environ, "ALLOW_SIMULATION"),
        )
    except InvalidSettingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    match arguments:
        case []:
            return run_process(lambda stop: run(settings, stop), log_level=node.log_level, if_corrupt=IF_CORRUPT)
        case ["set-aside"]:
            try:
                sys.stdout.write(f"the log is now in {set_aside(node.data)}; the next start fetches it anew\n")
            except (SetAsideError, LogInUseError, OSError) as error:
                sys.stderr.write(f"{error}\n")
                return 1
            return 0
        case _:
            sys.stderr.write(f"{USAGE}\n")
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
