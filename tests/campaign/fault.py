"""A kind of fault, and a fault: a kind that hits one node or the broker at some moment."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from random import Random

import aiohttp

from infra.broker.broker import BrokerError
from tests.campaign.arena import Arena
from tests.campaign.member import Member
from tests.cluster import eventually

ATTEMPT_S = 20.0
"""How long the broker may take to do something to itself; a queue that goes away meanwhile may leave it waiting."""


class Part(Enum):
    """What a fault has to itself while it lasts."""

    PROCESS = "process"
    ALL_PROCESSES = "all processes"
    WAY = "way to the broker"
    BROKER = "broker"
    TOPOLOGY = "queues, exchange and connections"


class Aim(Enum):
    """Which nodes a kind is for."""

    MASTER = "master"
    SECONDARY = "secondary"
    ANY = "any node"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. It is over, but for healing, when its kind's function returns."""

    arena: Arena
    target: Member
    random: Random

    async def lasts(self, least_s: float, most_s: float) -> None:
        """Go on with it for a while; less when the campaign is to end."""
        await self.arena.pause(self.random.uniform(least_s, most_s))

    async def outlasts_all(self) -> None:
        """Go on with it for longer than every timeout there is."""
        await self.arena.pause(self.arena.cluster.longest_timeout_s + 1)

    async def insist(self, attempt: Callable[[], Awaitable[object]], what: str) -> None:
        """Try until it succeeds: the broker may be away by another fault, or leave an attempt without an answer."""

        async def succeeds() -> bool:
            try:
                async with asyncio.timeout(ATTEMPT_S):
                    await attempt()
            except (AssertionError, BrokerError, aiohttp.ClientError, OSError):  # Docker's errors are OSErrors
                return False
            return True

        await eventually(succeeds, what)


@dataclass(frozen=True, slots=True)
class Kind:
    """``do`` does harm and undoes it. A kind that ``needs_small_disk`` hits only nodes that have one."""

    name: str
    do: Callable[[Fault], Awaitable[None]]
    aim: Aim
    part: Part
    needs_small_disk: bool = False
    needs_strace: bool = False

    def targets(self, arena: Arena) -> list[Member]:
        of = {
            Aim.MASTER: [arena.master],
            Aim.SECONDARY: arena.secondaries,
            Aim.ANY: [arena.master, *arena.secondaries],
        }[self.aim]
        return [member for member in of if member.small_disk or not self.needs_small_disk]

    def takes(self, target: Member, arena: Arena) -> frozenset[tuple[Part, str]]:
        """What no other fault may take meanwhile."""
        match self.part:
            case Part.BROKER | Part.TOPOLOGY:
                return frozenset([(self.part, "")])
            case Part.ALL_PROCESSES:
                return frozenset((Part.PROCESS, name) for name in arena.members)
            case _:
                return frozenset([(self.part, target.name)])
