"""How long and how much is measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """``rounds`` in which contestants take turns, each for ``seconds``."""

    rounds: int
    slow_runs: int
    """How often that is done which takes its own time."""
    seconds: float
    clients: tuple[int, ...]
    """How many at once append to ours and to the empty application."""
    peer_clients: tuple[int, ...]
    """How many at once append to a peer, and to ours beside it."""
    records: int
    """Length of the log that is read, followed and fetched, when it was written in batches."""
    single_records: int
    """Length of the log that is fetched when it was written by single appends."""
    lengths: tuple[int, ...]
    """Lengths of the log at which the processes' memory is taken; they ascend."""
    backlogs: tuple[int, ...]
    """How far a dead secondary is behind when it is taken; more than its queue on the broker takes, but for SMOKE."""


FULL = Plan(
    rounds=5,
    slow_runs=5,
    seconds=3.0,
    clients=(1, 16, 64, 256),
    peer_clients=(1, 16, 64, 256),
    records=1_000_000,
    single_records=100_000,
    lengths=(1_000_000, 10_000_000),
    backlogs=(1_000_000, 3_000_000),
)
QUICK = Plan(
    rounds=5,
    slow_runs=3,
    seconds=0.6,
    clients=(1, 16, 64, 256),
    peer_clients=(64,),
    records=500_000,
    single_records=5_000,
    lengths=(200_000, 1_000_000),
    backlogs=(700_000, 1_400_000),
)
SMOKE = Plan(
    rounds=1,
    slow_runs=1,
    seconds=1.0,
    clients=(1, 64),
    peer_clients=(64,),
    records=5_000,
    single_records=200,
    lengths=(5_000, 10_000),
    backlogs=(1_000, 2_000),
)
"""To see that all of it works: its figures mean nothing."""
