"""What the clients of a campaign ask for: appends at mixed write concerns, by some with keys, until they are done."""

import asyncio
from random import Random

from tests.campaign.client import LONGEST_S, PATIENT_S, Client

PAUSE_S = 0.1
"""Between an answer and the next request, on average."""
REFUSED_PAUSE_S = 0.3
CONCERNS = (1, 1, 2, 3, "majority", "all")
TIMEOUTS_S = (PATIENT_S, 5.0, 1.0, 0.2)
SHORTEST_S, SHORT_S = 0.005, 0.5
"""After so long hang up those who do."""
REUSED = 0.05
"""How many keys are asked for once more with another message."""


async def append_for_ever(client: Client, enough: asyncio.Event, random: Random) -> None:
    """All kinds of appends, one after the other."""
    while not enough.is_set():
        size = random.choice((0, 0, 0, 200, 2_000)) if random.random() < 0.98 else random.randint(20_000, 200_000)
        status = await client.append(
            random.choice(CONCERNS),
            timeout_s=random.choice(TIMEOUTS_S),
            hang_up_s=random.uniform(SHORTEST_S, SHORT_S) if random.random() < 0.03 else LONGEST_S,
            size=size,
        )
        await _pause(status, random)


async def append_with_keys(client: Client, enough: asyncio.Event, random: Random) -> None:
    """Appends of one or more messages, each asked for with little patience until it is done, and at times once more."""
    while not enough.is_set():
        append = client.keyed(random.choice((1, 1, 1, 5)))
        more = random.choice((0, 0, 1))
        while more >= 0 and not enough.is_set():
            status = await client.ask(
                append,
                random.choice(CONCERNS),
                timeout_s=random.choice(TIMEOUTS_S),
                hang_up_s=random.uniform(SHORTEST_S, SHORT_S) if random.random() < 0.3 else LONGEST_S,
            )
            more -= status == 201
            await _pause(status, random)
        if append.done and random.random() < REUSED:
            await client.reuse(append)


async def append_without_error(
    client: Client, enough: asyncio.Event, random: Random, w: int, violations: list[str]
) -> None:
    """Appends at one write concern, by a patient client that must see no error."""
    while not enough.is_set():
        status = await client.append(w, timeout_s=PATIENT_S * 2)
        if status != 201:
            violations.append(f"errors: a patient client at w={w} was not answered 201, but {status}")
            return
        await asyncio.sleep(random.expovariate(1 / PAUSE_S))


async def _pause(status: int, random: Random) -> None:
    pause_s = random.expovariate(1 / PAUSE_S)
    await asyncio.sleep(pause_s if status in (201, 504) else pause_s + REFUSED_PAUSE_S)
