"""A secondary as a whole: its log, its receiver and what it serves over HTTP."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from infra.http import HttpProblem, application, serving
from infra.log_thread import open_log
from infra.names import Names
from infra.process import beside
from infra.reading import add_reading
from infra.settings import NodeSettings
from replicated_log.intake import Latency
from secondary.receiver import Receiver

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SecondarySettings:
    """``latency`` is what is simulated, nothing by default."""

    node: NodeSettings
    latency: Latency


async def run(settings: SecondarySettings, stop: asyncio.Event) -> None:
    """Follow until ``stop`` is set. Raises what opening, or later writing, the log raises."""
    node = settings.node
    async with open_log(node.data, node.name) as log:
        receiver = Receiver(
            log, name=node.name, names=Names(node.log_name), amqp_url=node.amqp_url, latency=settings.latency
        )
        logger.info("log %s goes on at offset %d", log.log.log_id or "(none yet)", log.log.end.offset)
        app = application()
        add_reading(app, log, lambda: _status(settings, receiver))
        app.router.add_post("/", refuse_write)
        app.router.add_post("/messages", refuse_write)
        async with beside(receiver.run()), serving(app, node.http_host, node.http_port):
            await stop.wait()


async def refuse_write(_: web.Request) -> web.Response:
    raise HttpProblem(403, "not-the-master", "this is a secondary: it only reads; write to the master")


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
        "committed_end": min(intake.committed_end, intake.on_disk.offset),
        "lag": max(0, intake.master_end - intake.on_disk.offset),
        "state": intake.state,
        "disk_full": intake.disk_full,
        "broker": "connected" if receiver.connected else "disconnected",
        "poison": receiver.poison,
        "counts": dict(intake.counts),
    }
