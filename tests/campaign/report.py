"""What a campaign comes to: what was done, what clients were told, how long healing took, and what was broken."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(slots=True)
class Report:
    """Faults and healing are noted as they come; the rest is filled in at the end."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    heal_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    rounds: int = 0
    left_out: Sequence[str] = ()
    seconds: float = 0.0
    answers: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    records: int = 0
    peak_memory_mib: dict[str, float] = field(default_factory=dict)
    violations: Sequence[str] = ()

    def begins(self, time: float, kind: str, what: str) -> None:
        self.faults[kind] += 1
        print(f"{time:8.1f} s  {what}", flush=True)

    def healed(self, kinds: Sequence[str], seconds: float) -> None:
        self.rounds += 1
        for kind in kinds:
            self.heal_s[kind].append(seconds)
        print(f"{'':10}  healed in {seconds:.1f} s", flush=True)

    @property
    def errors(self) -> int:
        """How many requests were not answered 201."""
        return sum(count for kind, count in self.answers.items() if not kind.startswith("201"))

    def lines(self) -> Iterator[str]:
        yield f"seed {self.seed}: {self.seconds:.0f} s, {self.rounds} rounds, {self.faults.total()} faults"
        yield f"appends asked for: {self.answers.total()}, not answered 201: {self.errors}"
        yield from (f"  {count:7}  {kind}" for kind, count in self.answers.most_common())
        yield f"records in the log: {self.records}; looks at the nodes' logs: {self.looks}"
        yield "faults, and seconds to heal after them:"
        yield f"  {'':28}{'times':>6}{'median':>8}{'max':>8}"
        for kind, times in sorted(self.faults.items()):
            healed = self.heal_s.get(kind)
            seconds = f"{median(healed):8.1f}{max(healed):8.1f}" if healed else ""
            yield f"  {kind:28}{times:6}{seconds}"
        if every := [second for healed in self.heal_s.values() for second in healed]:
            yield f"  {'all':28}{self.faults.total():6}{median(every):8.1f}{max(every):8.1f}"
        if self.left_out:
            yield f"left out, since this machine does not let us: {', '.join(self.left_out)}"
        peaks = ", ".join(f"{name} {peak:.0f} MiB" for name, peak in self.peak_memory_mib.items())
        yield f"peaks of memory: {peaks}"
        yield f"violations: {len(self.violations)}"
        yield from (f"  {violation}" for violation in self.violations)
