"""What a secondary simulates so that latency and loss can be watched: ``GET`` and ``PUT /simulation``.

None of it breaks a promise: acks come later, twice or not at all, and never announce more than is on disk.
"""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from random import Random
from typing import Final

from aiohttp import web

from infra.http.bodies import check_fields, read_json_object
from infra.http.problems import HttpProblem, json_response
from node.settings import MAX_DELAY_S
from replicated_log.secondary.intake import Latency
from replicated_log.wire.delivery import Ack, Fetch

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Effects:
    """What is simulated: seconds from 0 to MAX_DELAY_S, probabilities from 0 to 1.

    Each commit's ack waits ``ack_delay_s``, and up to ``ack_jitter_s`` more by chance; acks keep their order all the
    same. Each batch waits ``persist_delay_s`` before it is persisted. The probabilities are those of an ack to be
    dropped, and of one that is not dropped to be sent twice.
    """

    ack_delay_s: float = 0.0
    ack_jitter_s: float = 0.0
    persist_delay_s: float = 0.0
    drop_ack_probability: float = 0.0
    repeat_ack_probability: float = 0.0

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:g}" for name, value in asdict(self).items() if value) or "nothing"


class Simulation:
    """The effects at present, and how many acks they have dropped and repeated."""

    def __init__(self, effects: Effects) -> None:
        self.dropped_acks = 0
        self.repeated_acks = 0
        self._random = Random()
        self.simulate(effects)

    def simulate(self, effects: Effects) -> None:
        """Simulate ``effects`` from now on. ``longest`` are the longest delays that :meth:`draw` may return."""
        self.effects = effects
        self.longest = Latency(effects.ack_delay_s + effects.ack_jitter_s, effects.persist_delay_s)

    def draw(self) -> Latency:
        """Delays for the next commit, by chance where there is jitter."""
        if not self.effects.ack_jitter_s:
            return self.longest
        jitter_s = self._random.uniform(0, self.effects.ack_jitter_s)
        return Latency(self.effects.ack_delay_s + jitter_s, self.effects.persist_delay_s)

    def times(self, delivery: Ack | Fetch) -> int:
        """How many times to send this: 0, 1 or 2; a fetch always once."""
        if not isinstance(delivery, Ack):
            return 1
        if self._random.random() < self.effects.drop_ack_probability:
            self.dropped_acks += 1
            logger.debug("simulation: the ack of everything below %d is dropped", delivery.acked.offset)
            return 0
        if self._random.random() < self.effects.repeat_ack_probability:
            self.repeated_acks += 1
            logger.debug("simulation: the ack of everything below %d is repeated", delivery.acked.offset)
            return 2
        return 1


_SIMULATION: Final = web.AppKey("simulation", Simulation)
_CHANGE: Final[web.AppKey[Callable[[Effects], None] | None]] = web.AppKey("change simulation")


def add_simulation(app: web.Application, simulation: Simulation, change: Callable[[Effects], None] | None) -> None:
    """Show what is simulated, and let clients ``change`` it; None: they may not."""
    app[_SIMULATION] = simulation
    app[_CHANGE] = change
    app.router.add_get("/simulation", show_simulation)
    app.router.add_put("/simulation", change_simulation)


async def show_simulation(request: web.Request) -> web.Response:
    return json_response(asdict(request.app[_SIMULATION].effects))


async def change_simulation(request: web.Request) -> web.Response:
    """Simulate what the body says, and nothing else."""
    change = request.app[_CHANGE]
    if change is None:
        detail = "what is simulated can't be changed here: this node runs without REPLOG_ALLOW_SIMULATION=1"
        raise HttpProblem(403, "simulation-not-allowed", detail)
    change(await read_effects(request))
    return await show_simulation(request)


async def read_effects(request: web.Request) -> Effects:
    """The effects that a request asks for: all of them, a missing one is 0. Raises HttpProblem."""
    if request.content_type != "application/json":
        raise HttpProblem(415, "unsupported-media-type", "send application/json")
    body = await read_json_object(request)
    most = {field.name: 1.0 if field.name.endswith("_probability") else MAX_DELAY_S for field in fields(Effects)}
    check_fields(body, most.keys())
    return Effects(**{name: _number(name, body[name], most[name]) for name in body})


def _number(name: str, asked: object, most: float) -> float:
    if isinstance(asked, int | float) and not isinstance(asked, bool) and 0 <= asked <= most:
        return float(asked)
    detail = f"{name} must be a number from 0 to {most:g}, not {str(asked)[:40]}"
    raise HttpProblem(400, "invalid-simulation", detail)
