"""Planted bugs: each a small mutation of the real objects, and each must be caught by the checker.

``python -m tests.simulation.mutants`` shows the table: the bug, how many seeds it took, and the rule that caught it.
A seed catches a bug only if the protocol without it passes.
"""

import sys
from multiprocessing import Pool
from time import monotonic

from tests.simulation import mutants_keys, mutants_log, mutants_master, mutants_secondary  # noqa: F401 - plant the bugs
from tests.simulation.surgery import MUTANTS, hunt


def main() -> int:
    began = monotonic()
    missed = 0
    with Pool() as pool:
        for catch in pool.imap_unordered(hunt, MUTANTS):
            missed += catch.violation is None
            found = f"{catch.seeds:5} seeds" if catch.violation else "NOT CAUGHT "
            print(f"{catch.name:62} {found}  {str(catch.violation or '')[:100]}", flush=True)
    print(f"{len(MUTANTS) - missed} of {len(MUTANTS)} planted bugs caught, in {monotonic() - began:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
