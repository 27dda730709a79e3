"""The clients of a campaign: they append at mixed write concerns, and tell the witness what they were told."""

import asyncio
import json
from collections import Counter
from io import BytesIO
from random import Random

import aiohttp

from replicated_log.write_concern import resolve
from tests.campaign.witness import Witness
from tests.cluster import Cluster
from tests.simulation.history import Answered, Broken, Refused, TimedOut

LONGEST_S = 120.0
"""Nobody waits longer for an answer, whatever is frozen: timeouts of clients are at most PATIENT_S."""
PATIENT_S = 30.0
PAUSE_S = 0.1
"""Between an answer and the next request, on average."""
REFUSED_PAUSE_S = 0.3


class Client:
    """Appends messages of its own, each with a text that nobody else sends."""

    def __init__(self, number: int, cluster: Cluster, witness: Witness, answers: Counter[str]) -> None:
        self._number = number
        self._cluster = cluster
        self._witness = witness
        self._answers = answers
        self._sent = 0

    async def append(
        self, w: int | str, *, timeout_s: float = PATIENT_S, hang_up_s: float = LONGEST_S, size: int = 0
    ) -> int:
        """Append one message, and return the answer's HTTP status; 0 when there was none.

        Its kind is counted, and the witness is told.
        """
        self._sent += 1
        message = f"client {self._number:02} message {self._sent:06}.".ljust(size, "x")
        witness = self._witness
        op = witness.asks(message, resolve(w, len(self._cluster.nodes)))
        try:
            status, answer = await self._post(message, w, timeout_s, hang_up_s)
        except aiohttp.ClientConnectorError:
            witness.add(Refused(witness.now(), op, "nobody listens"))
            return self._count(0, "nobody listens")
        except (aiohttp.ClientError, ConnectionError):
            witness.add(Broken(witness.now(), op))
            return self._count(0, "the connection broke")
        except TimeoutError:
            witness.add(Broken(witness.now(), op))
            if hang_up_s == LONGEST_S:
                witness.violations.append(f"answered: {message[:40]} got no answer in {LONGEST_S:g} s")
            return self._count(0, "hung up")
        except asyncio.CancelledError:
            witness.add(Broken(witness.now(), op))
            raise
        self._hear(op, status, answer)
        appended = answer.get("appended")
        return self._count(status, f"{status}, appended: {appended}" if appended else f"{status}")

    def _hear(self, op: int, status: int, answer: dict[str, object]) -> None:
        witness = self._witness
        match status, answer.get("appended"), answer.get("offset"):
            case 201, None, int(offset):
                witness.add(Answered(witness.now(), op, offset))
            case 504, "yes", int(offset):
                witness.add(TimedOut(witness.now(), op, offset))
            case 504, "unknown", None:
                witness.add(TimedOut(witness.now(), op, None))
            case 503 | 507, "no", None:
                stopping = "about to stop" in str(answer["detail"])
                witness.add(Refused(witness.now(), op, "stopping" if stopping else str(answer["code"])))
            case _:
                witness.add(Broken(witness.now(), op))
                witness.violations.append(f"answered: a client was told {status} {answer}")

    def _count(self, status: int, kind: str) -> int:
        self._answers[kind] += 1
        return status

    async def _post(
        self, message: str, w: int | str, timeout_s: float, hang_up_s: float
    ) -> tuple[int, dict[str, object]]:
        async with self._cluster.http.post(
            f"{self._cluster.master.url}/messages",
            data=BytesIO(json.dumps({"message": message, "w": w, "timeout": timeout_s}).encode()),
            headers={"Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(hang_up_s),
        ) as response:
            return response.status, await response.json(content_type=None)


async def append_for_ever(client: Client, enough: asyncio.Event, random: Random) -> None:
    """All kinds of appends, one after the other."""
    while not enough.is_set():
        size = random.choice((0, 0, 0, 200, 2_000)) if random.random() < 0.98 else random.randint(20_000, 200_000)
        status = await client.append(
            random.choice((1, 1, 2, 3, "majority", "all")),
            timeout_s=random.choice((PATIENT_S, 5.0, 1.0, 0.2)),
            hang_up_s=random.uniform(0.005, 0.5) if random.random() < 0.03 else LONGEST_S,
            size=size,
        )
        pause_s = random.expovariate(1 / PAUSE_S)
        await asyncio.sleep(pause_s if status in (201, 504) else pause_s + REFUSED_PAUSE_S)


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
