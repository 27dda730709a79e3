"""One benchmark under way: its plan, what it has found, and the log that it measures."""

import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from infra.broker.get_json import get_json
from tests.bench.load import Load
from tests.bench.ours import Ours
from tests.bench.plan import Plan
from tests.bench.results import Results, Row
from tests.bench.rounds import Runs, alternate


class Bench:
    """A context. The log that experiments share runs from its first use on, until it is left or renounced."""

    def __init__(self, plan: Plan, data: Path) -> None:
        """``data`` is for all that any process stores and logs."""
        self.plan = plan
        self.results = Results()
        self._data = data
        self._directories = 0
        self._ours: Ours | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.renounce_ours()

    @property
    def ours(self) -> Ours:
        if self._ours is None:
            self._ours = self._open.enter_context(Ours(self.directory("ours")))
            overview = get_json(f"{self._ours.broker.management_url}/api/overview", self._ours.broker.management_auth)
            version = overview["rabbitmq_version"] if overview else "unknown"
            self.results.promises[f"ours, over RabbitMQ {version}"] = (
                "w=3: fsynced by the master and both secondaries; w=2 by the master and one of them; w=1 by the master."
            )
        return self._ours

    def renounce_ours(self) -> None:
        """End the log that experiments share: the next one gets a new one."""
        self._ours = None
        self._open.close()

    def directory(self, name: str) -> Path:
        """A path that nothing has used."""
        self._directories += 1
        return self._data / f"{self._directories:02}-{name}"

    def alternate(self, what: str, contestants: Mapping[str, Callable[[], Load]]) -> dict[str, Runs]:
        """As in rounds, with a word on what is being done."""
        tell(f"{what}: {' | '.join(contestants)}")
        return alternate(contestants, self.plan.rounds)

    def add(self, row: Row) -> None:
        self.results.rows.append(row)
        tell("    " + " | ".join(part for part in (row.what, row.ours, row.against) if part))


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
