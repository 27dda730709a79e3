"""A process that appends to a log until it is killed: ``python -m tests.unit.log_process <directory>``.

It says on stdout, as one number per line, below which offset everything is on disk.
"""

import sys
from itertools import count
from pathlib import Path

from replicated_log.storage.log import Log
from tests.unit.builders import make_batches

RECORDS_PER_COMMIT = 3


def append_for_ever(directory: Path) -> None:
    log = Log.open(directory, "node1")
    log.begin_reign()
    assert log.log_id is not None
    for first in count(log.end.offset, RECORDS_PER_COMMIT):
        print(first, flush=True)
        texts = [str(first), [str(first + 1), str(first + 2)]]
        log.append(make_batches(*texts, previous=log.end, epoch=log.epoch, log_id=log.log_id))


if __name__ == "__main__":
    append_for_ever(Path(sys.argv[1]))
