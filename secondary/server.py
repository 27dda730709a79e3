"""A secondary as a whole: its log, its receiver and what it serves over HTTP."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from infra.aio.tasks import beside
from infra.disk.log_thread import open_log
from infra.http.problems import HttpProblem
from infra.http.serving import application, serving
from infra.rabbitmq.names import Names
from node.health import add_health
from node.http.openapi import add_openapi
from node.http.reading.routes import WAIT_FOR_COPIES, add_reading
from node.metrics import add_metrics
from node.settings import NodeSettings
from secondary.metrics import collect_status
from secondary.receiver import Receiver
from secondary.simulation import Effects, add_simulation

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SecondarySettings:
    """``effects`` are what is simulated at first; only with ``allow_simulation`` may clients change them."""

    node: NodeSettings
    effects: Effects
    allow_simulation: bool = False


async def run(settings: SecondarySettings, stop: asyncio.Event) -> None:
    """Follow until ``stop`` is set. Raises what opening, or later writing, the log raises."""
    node = settings.node
    async with open_log(node.data, node.name) as log:
        receiver = Receiver(
            log,
            name=node.name,
            names=Names(node.log_name),
            amqp_urls=node.amqp_urls,
            effects=settings.effects,
            timings=node.timings,
            amqp=node.amqp,
        )
        logger.info("log %s goes on at offset %d", log.log.log_id or "(none yet)", log.log.end.offset)
        app = application()
        add_reading(app, log, receiver.committed, lambda: _status(settings, receiver))
        add_openapi(app)
        add_health(app, receiver.readiness)
        add_metrics(app, receiver.registry, lambda: _status(settings, receiver), collect_status)
        add_simulation(app, receiver.simulation, receiver.simulate if settings.allow_simulation else None)
        app[WAIT_FOR_COPIES] = refuse_to_wait
        app.router.add_get("/health", point_to_master)
        app.router.add_post("/", refuse_write)
        app.router.add_post("/messages", refuse_write)
        async with beside(receiver.run()), serving(app, node.http_host, node.http_port):
            await stop.wait()


async def refuse_write(_: web.Request) -> web.Response:
    raise HttpProblem(403, "not-the-master", "this is a secondary: it only reads; write to the master")


async def point_to_master(_: web.Request) -> web.Response:
    raise HttpProblem(403, "not-the-master", "this is a secondary: only the master serves this")


async def refuse_to_wait(_: web.Request, __: int) -> web.Response:
    raise HttpProblem(403, "not-the-master", "this is a secondary: only the master knows who has a record")


def _status(settings: SecondarySettings, receiver: Receiver) -> dict[str, Any]:
    intake = receiver.intake
    return {
        "name": settings.node.name,
        "role": "secondary",
        "log": settings.node.log_name,
        "log_id": intake.log_id,
        "epoch": intake.epoch,
        "end_offset": intake.on_disk.offset,
        "acked_end": intake.acked.offset,
        "committed_end": receiver.committed.offset,
        "lag": max(0, intake.master_end - intake.on_disk.offset),
        "state": intake.state,
        "disk_full": intake.disk_full,
        "broker": "connected" if receiver.connected else "disconnected",
        "poison": receiver.poison,
        "counts": {
            **intake.counts,
            "acks": receiver.sent_acks,
            "simulated drops": receiver.simulation.dropped_acks,
            "simulated repeats": receiver.simulation.repeated_acks,
        },
    }
