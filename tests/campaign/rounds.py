"""Faults, then healing: round after round, or faults by the clock."""

import asyncio
import itertools
from random import Random

from tests.campaign.arena import Arena
from tests.campaign.deck import Deck
from tests.campaign.fault import Fault, Kind, Part
from tests.campaign.member import Member
from tests.campaign.report import Report
from tests.simulation.history import Fault as Seen

PAIRED = 0.6
"""How many of the rounds have two faults."""
APART_S = 2.0
"""The second of a pair begins at most so long after the first."""


class Rounds:
    def __init__(self, arena: Arena, deck: Deck, report: Report, random: Random) -> None:
        self._arena = arena
        self._deck = deck
        self._report = report
        self._random = random
        self._client = arena.client()

    async def run(self) -> None:
        """One or two faults, and healing, until the campaign is over."""
        while not self._arena.over.is_set():
            drawn = self._draw(2 if self._random.random() < PAIRED else 1)
            async with asyncio.TaskGroup() as faults:
                for number, (kind, target) in enumerate(drawn):
                    random = Random(self._random.random())
                    delay_s = random.uniform(0, APART_S) if number else 0.0
                    faults.create_task(self._do(kind, Fault(self._arena, target, random), delay_s))
            await self.heal([kind.name for kind, _ in drawn])
            await self._arena.pause(self._random.uniform(0, 0.5))

    async def run_by_the_clock(self, every_s: float) -> None:
        """A fault every so many seconds, wherever none is under way, whatever has healed by then."""
        taken: dict[int, frozenset[tuple[Part, str]]] = {}

        async def do(number: int, kind: Kind, fault: Fault) -> None:
            await self._do(kind, fault, 0)
            del taken[number]

        async with asyncio.TaskGroup() as faults:
            for number in itertools.count():
                if self._arena.over.is_set():
                    break
                if dealt := self._deck.deal(self._arena, frozenset().union(*taken.values())):
                    kind, target = dealt
                    taken[number] = kind.takes(target, self._arena)
                    fault = Fault(self._arena, target, Random(self._random.random()))
                    faults.create_task(do(number, kind, fault))
                await self._arena.pause(every_s)
        await self.heal([])

    async def heal(self, kinds: list[str]) -> None:
        """See the cluster converge, and note how long that took after these faults."""
        arena = self._arena
        if arena.witness.violations:
            return
        released = arena.witness.now()
        try:
            await arena.heal(self._client)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from healing is to be reported
            arena.violated(f"healing: after {' and '.join(kinds) or 'all'}: {error!r}")
            return
        self._report.healed(kinds, arena.witness.now() - released)

    def _draw(self, count: int) -> list[tuple[Kind, Member]]:
        drawn: list[tuple[Kind, Member]] = []
        taken: frozenset[tuple[Part, str]] = frozenset()
        for _ in range(count):
            if dealt := self._deck.deal(self._arena, taken):
                drawn.append(dealt)
                taken |= dealt[0].takes(dealt[1], self._arena)
        return drawn

    async def _do(self, kind: Kind, fault: Fault, delay_s: float) -> None:
        arena = self._arena
        await arena.pause(delay_s)
        if arena.over.is_set():
            return
        what = f"{kind.name} ({fault.target.name})"
        self._report.begins(arena.witness.now(), kind.name, what)
        arena.witness.add(Seen(arena.witness.now(), what))
        try:
            await kind.do(fault)
        except Exception as error:  # noqa: BLE001 - whatever goes other than it must is to be reported
            arena.violated(f"fault: {what} went otherwise than it must: {error!r}")
