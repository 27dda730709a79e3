"""``python -m secondary``: settings from the environment, see the README."""

import os
import sys

from infra.process import run_process
from infra.settings import InvalidSettingError, read_delay, read_node_settings
from replicated_log.intake import Latency
from secondary.server import SecondarySettings, run


def main() -> int:
    try:
        node = read_node_settings(os.environ, name="node1", http="127.0.0.1:8080")
        latency = Latency(read_delay(os.environ, "LATENCY"), read_delay(os.environ, "PERSIST_DELAY"))
    except InvalidSettingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    settings = SecondarySettings(node, latency)
    return run_process(lambda stop: run(settings, stop), log_level=node.log_level)


if __name__ == "__main__":
    sys.exit(main())
