"""A client of a campaign: it appends, once or with a key until it is done, and tells the witness what it was told."""

import json
from asyncio import CancelledError
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import aiohttp

from replicated_log.write_concern import resolve
from tests.campaign.witness import Witness
from tests.cluster import Cluster
from tests.simulation.history import Answered, Broken, Refused, TimedOut

LONGEST_S = 120.0
"""Nobody waits longer for an answer, whatever is frozen: timeouts of clients are at most twice PATIENT_S."""
PATIENT_S = 30.0
WHY = {
    "disk-full": "disk full",
    "key-reused": "key reused",
    "overloaded": "overloaded",
    "read-only": "read-only",
    "slow-body": "down",
    "slow-header": "down",
    "stopping": "down",
}
"""What the history calls a refusal, by its code. To a master that stood still, a request seems slow."""


@dataclass(slots=True)
class Append:
    """What a client asks for, once, or with a ``key`` several times."""

    messages: Sequence[str]
    key: str | None = None
    in_doubt: bool = False
    """It may be in the log: of a request for it, the client could not be told whether it is."""
    done: bool = False
    """It is in the log: the client was told."""


class Client:
    """Appends messages of its own, each with a text that nobody else sends."""

    def __init__(self, number: int, cluster: Cluster, witness: Witness, answers: Counter[str]) -> None:
        self._name = f"client {number:02}"
        self._cluster = cluster
        self._witness = witness
        self._answers = answers
        self._messages = 0
        self._keys = 0

    async def append(
        self, w: int | str, *, timeout_s: float = PATIENT_S, hang_up_s: float = LONGEST_S, size: int = 0
    ) -> int:
        """Append one message: :meth:`ask` once."""
        return await self.ask(Append(self._new_messages(1, size)), w, timeout_s=timeout_s, hang_up_s=hang_up_s)

    def keyed(self, count: int) -> Append:
        """An append to ask for as often as one likes: of so many messages at once, with a key."""
        self._keys += 1
        return Append(self._new_messages(count), f"{self._name} key {self._keys:06}")

    async def reuse(self, append: Append) -> int:
        """Ask for another message with the key of an append that is done: that must be refused."""
        return await self.ask(Append(self._new_messages(1), append.key), 1, timeout_s=PATIENT_S)

    async def ask(self, append: Append, w: int | str, *, timeout_s: float, hang_up_s: float = LONGEST_S) -> int:
        """Ask for it, and return the answer's HTTP status; 0 when there was none.

        Its kind is counted, and the witness is told.
        """
        witness = self._witness
        op = witness.asks(
            append.messages, resolve(w, len(self._cluster.nodes)), append.key, again=append.in_doubt or append.done
        )
        try:
            status, answer, replayed = await self._post(append, w, timeout_s, hang_up_s)
        except aiohttp.ClientConnectorError:
            witness.add(Refused(witness.now(), op, "down"))
            return self._count(0, "nobody listens")
        except (aiohttp.ClientError, ConnectionError):
            self._break(op, append)
            return self._count(0, "the connection broke")
        except TimeoutError:
            self._break(op, append)
            if hang_up_s == LONGEST_S:
                witness.violations.append(f"answered: {append.messages[0][:40]} got no answer in {LONGEST_S:g} s")
            return self._count(0, "hung up")
        except CancelledError:
            self._break(op, append)
            raise
        self._hear(op, append, status, answer)
        appended = answer.get("appended")
        return self._count(status, f"{status}{', replayed' * replayed}{f', appended: {appended}' * bool(appended)}")

    def _hear(self, op: int, append: Append, status: int, answer: Mapping[str, Any]) -> None:
        witness = self._witness
        match status, answer.get("appended"), answer.get("offset"):
            case 201, None, int(offset):
                append.done = True
                witness.add(Answered(witness.now(), op, offset))
            case 504, "yes", int(offset):
                append.done = True
                witness.add(TimedOut(witness.now(), op, offset))
            case 504, "unknown", None:
                append.in_doubt = True
                witness.add(TimedOut(witness.now(), op, None))
            case 408 | 422 | 503 | 507, "no", None if answer.get("code") in WHY:
                self._refused(op, append, answer)
            case _:
                self._break(op, append)
                witness.violations.append(f"answered: a client was told {status} {answer}")

    def _refused(self, op: int, append: Append, answer: Mapping[str, Any]) -> None:
        now, why = self._witness.now(), "down" if "about to stop" in answer["detail"] else WHY[answer["code"]]
        if why == "disk full" and append.in_doubt and not append.done:
            # An earlier request may get into the log right after this one was refused: nobody outside sees when.
            self._witness.add(Broken(now, op))
        else:
            self._witness.add(Refused(now, op, why))

    def _break(self, op: int, append: Append) -> None:
        append.in_doubt = True
        self._witness.add(Broken(self._witness.now(), op))

    def _count(self, status: int, kind: str) -> int:
        self._answers[kind] += 1
        return status

    def _new_messages(self, count: int, size: int = 0) -> list[str]:
        first = self._messages + 1
        self._messages += count
        return [f"{self._name} message {n:06}.".ljust(size, "x") for n in range(first, first + count)]

    async def _post(
        self, append: Append, w: int | str, timeout_s: float, hang_up_s: float
    ) -> tuple[int, dict[str, Any], bool]:
        query: dict[str, int | float | str] = {"w": w, "timeout": timeout_s}
        if len(append.messages) == 1:
            form, body, query = "json", json.dumps({"message": append.messages[0], **query}), {}
        else:
            form, body = "x-ndjson", "".join(f"{json.dumps(message)}\n" for message in append.messages)
        async with self._cluster.http.post(
            f"{self._cluster.master.url}/messages",
            params=query,
            data=BytesIO(body.encode()),
            headers={"Content-Type": f"application/{form}", **({"Idempotency-Key": append.key} if append.key else {})},
            timeout=aiohttp.ClientTimeout(hang_up_s),
        ) as response:
            answer: dict[str, Any] = await response.json(content_type=None)
            return response.status, answer, "Idempotent-Replayed" in response.headers
