"""Plants a bug in the real objects, and hunts for a seed that shows it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final
from unittest.mock import patch

from replicated_log.wire.batch import Batch
from tests.simulation.checker import Violation
from tests.simulation.model_log import ModelLog
from tests.simulation.run import run_seed

MAX_SEEDS: Final = 2000

Around = Callable[..., Any]
"""The mutated method: called with the real one, the object, and the arguments."""


class Surgeon(ExitStack):
    """Mutates until it is closed."""

    def around(self, owner: type, method: str, mutated: Around) -> None:
        real = getattr(owner, method)

        def call(this: Any, *arguments: Any, **named: Any) -> Any:
            return mutated(real, this, *arguments, **named)

        self.enter_context(patch.object(owner, method, call))

    def replace(self, owner: object, name: str, value: object) -> None:
        self.enter_context(patch.object(owner, name, value))

    def careless_log(self) -> None:
        """A log that stores what it is given, so that the checker has to find out, and not an assertion."""

        def append(log: ModelLog, batches: Sequence[Batch], *, adopt: str | None = None, epoch: int = 0) -> None:
            log._room()
            log.disk.write(batches, adopt=adopt, epoch=epoch)
            log.disk.sync()

        self.replace(ModelLog, "append", append)


MUTANTS: dict[str, Callable[[Surgeon], None]] = {}


def mutant(name: str) -> Callable[[Callable[[Surgeon], None]], Callable[[Surgeon], None]]:
    def register(operate: Callable[[Surgeon], None]) -> Callable[[Surgeon], None]:
        MUTANTS[name] = operate
        return operate

    return register


@contextmanager
def mutated(name: str) -> Iterator[None]:
    with Surgeon() as surgeon:
        MUTANTS[name](surgeon)
        yield


@dataclass(frozen=True, slots=True)
class Catch:
    name: str
    seeds: int
    seed: int
    violation: Violation | None


def hunt(name: str, first: int = 0, seeds: int = MAX_SEEDS) -> Catch:
    """Try seeds until one of them catches the bug."""
    for seed in range(first, first + seeds):
        with mutated(name):
            violation = run_seed(seed).violation
        if violation is not None and run_seed(seed).violation is None:
            return Catch(name, seed - first + 1, seed, violation)
    return Catch(name, seeds, first, None)
