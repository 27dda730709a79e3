"""All kinds of faults, dealt like cards: each comes once before any comes again."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from random import Random

import pytest

from tests.campaign import faults_of_broker, faults_of_disks, faults_of_network, faults_of_processes
from tests.campaign.arena import Arena
from tests.campaign.fault import Kind, Part
from tests.campaign.member import Member
from tests.faults_disk import install_strace

KINDS: Sequence[Kind] = [
    *faults_of_broker.KINDS,
    *faults_of_processes.KINDS,
    *faults_of_disks.KINDS,
    *faults_of_network.KINDS,
]


class Deck:
    def __init__(self, kinds: Sequence[Kind], random: Random) -> None:
        self._kinds = kinds
        self._random = random
        self._pile: list[Kind] = []

    def deal(self, arena: Arena, taken: frozenset[tuple[Part, str]]) -> tuple[Kind, Member] | None:
        """The next kind that finds a target among what is not taken, and a target; None when none does."""
        if not self._pile:
            self._pile = list(self._kinds)
            self._random.shuffle(self._pile)
        for kind in self._pile:
            free = [target for target in kind.targets(arena) if not kind.takes(target, arena) & taken]
            if free:
                self._pile.remove(kind)
                return kind, self._random.choice(free)
        return None


def possible_here(kinds: Sequence[Kind], arena: Arena) -> tuple[list[Kind], list[Kind]]:
    """The kinds that can be done on this machine, and those that can't."""
    with suppress(pytest.skip.Exception):
        install_strace()
    left_out = [
        kind for kind in kinds if not kind.targets(arena) or (kind.needs_strace and shutil.which("strace") is None)
    ]
    return [kind for kind in kinds if kind not in left_out], left_out
