"""``python -m master``: settings from the environment, see the README."""

import os
import sys

from infra.process import run_process
from infra.settings import InvalidSettingError, read_names, read_node_settings
from master.server import MasterSettings, run


def main() -> int:
    try:
        node = read_node_settings(os.environ, name="master", http="127.0.0.1:8000")
        secondaries = read_names(os.environ, "NODE_NAMES")
        if node.name in secondaries:
            raise InvalidSettingError(f"NODE_NAMES: {node.name!r} is the master's own name")
    except InvalidSettingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    settings = MasterSettings(node, secondaries)
    return run_process(lambda stop: run(settings, stop), log_level=node.log_level)


if __name__ == "__main__":
    sys.exit(main())
