"""``python -m replicated_log check DIR [DIR]``: verify a log on disk, or verify and compare two.

Exit code 0 when all is well (of two logs, one may be behind), 1 when not, 2 when the arguments are no such call.
"""

import sys
from pathlib import Path

from replicated_log.storage.check import Checked, NoLogError, check, first_difference
from replicated_log.wire.errors import CorruptLogError

USAGE = "usage: python -m replicated_log check DATA-DIRECTORY [ANOTHER-ONE]"


def main(arguments: list[str]) -> int:
    match arguments:
        case ["check", one]:
            directories = [Path(one)]
        case ["check", one, other]:
            directories = [Path(one), Path(other)]
        case _:
            sys.stderr.write(f"{USAGE}\n")
            return 2
    checked = []
    for directory in directories:
        try:
            checked.append(check(directory))
        except (CorruptLogError, NoLogError) as error:
            sys.stderr.write(f"{directory}: {error}\n")
            return 1
        sys.stdout.write(f"{directory}: {_described(checked[-1])}\n")
    return _compare(directories, checked) if len(checked) > 1 else 0


def _described(log: Checked) -> str:
    identity = log.identity
    return (
        f"sound; {log.end.offset} records of log {identity.log_id or '(none yet)'}, "
        f"node {identity.node}, disk {identity.disk_id}, epoch {identity.epoch}, chain {log.end.chain.hex()}"
    )


def _compare(directories: list[Path], checked: list[Checked]) -> int:
    one, other = checked
    difference = first_difference(*directories)
    if difference is not None:
        sys.stderr.write(f"they differ from offset {difference} on\n")
        return 1
    behind = one.end.offset - other.end.offset
    if behind == 0:
        sys.stdout.write("they are equal\n")
    else:
        shorter = directories[1] if behind > 0 else directories[0]
        sys.stdout.write(f"{shorter} is {abs(behind)} records behind; up to there they are equal\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
