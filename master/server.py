"""The master as a whole: its log, its replicator and its HTTP facade."""

import asyncio
import logging
import secrets
import time
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from infra.aio.tasks import beside
from infra.disk.log_thread import open_log
from infra.http.problems import HttpProblem
from infra.http.serving import application, serving
from infra.rabbitmq.names import Names
from master.facade import add_facade
from master.metrics import collect_status
from master.replicator import Replicator
from node.health import NotReady, add_health
from node.http.openapi import add_openapi
from node.http.reading.routes import add_reading
from node.metrics import add_metrics
from node.settings import NodeSettings
from replicated_log.master.progress import Secondary
from replicated_log.master.reign import Reign
from replicated_log.wire.delivery import ReignId
from replicated_log.write_concern import ALL

STOP_GRACE_S: Final = 3.0
"""How long a client may go on waiting for its write concern once the process is told to stop."""
DISK_FULL_S: Final = 10.0
"""How long a refused commit makes the master unready. Only an append can find that there is room again."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MasterSettings:
    """``secondaries`` are the configured ones, by name: with the master they are the n nodes of a write concern.

    ``default_w`` is the write concern of an append that asks for none.
    """

    node: NodeSettings
    secondaries: tuple[str, ...]
    require_quorum: bool = False
    default_w: str = ALL


async def run(settings: MasterSettings, stop: asyncio.Event) -> None:
    """Reign until ``stop`` is set. Raises what opening, or later writing, the log raises."""
    node = settings.node
    async with open_log(node.data, node.name) as log:
        epoch = await log.begin_reign()
        assert log.log.log_id is not None
        reign_id = ReignId(log.log.log_id, epoch, secrets.token_hex(8))
        replicator = Replicator(
            Reign(
                reign_id,
                settings.secondaries,
                log.log.end,
                require_quorum=settings.require_quorum,
                timings=node.timings,
            ),
            log,
            name=node.name,
            names=Names(node.log_name),
            amqp_urls=node.amqp_urls,
            amqp=node.amqp,
        )
        logger.info("epoch %d of log %s begins at offset %d", epoch, reign_id.log_id, log.log.end.offset)
        app = application()
        # Before the readers' routes, so that POST /messages, the most frequent request, is found first.
        add_facade(app, replicator, settings.default_w)
        add_reading(app, log, replicator.committed, lambda: _status(settings, replicator))
        add_openapi(app)
        add_health(app, lambda: _readiness(replicator))
        add_metrics(app, replicator.metrics.registry, lambda: _status(settings, replicator), collect_status)
        app.router.add_get("/simulation", point_to_secondaries)
        app.router.add_put("/simulation", point_to_secondaries)
        async with beside(replicator.run()), serving(app, node.http_host, node.http_port):
            await stop.wait()
            replicator.wind_up(STOP_GRACE_S)


async def point_to_secondaries(_: web.Request) -> web.Response:
    raise HttpProblem(403, "not-a-secondary", "this is the master: only secondaries simulate")


def _readiness(replicator: Replicator) -> NotReady | None:
    """Why appends are refused now; None when they are not."""
    now = time.monotonic()
    if reason := replicator.reign.read_only(now):
        return NotReady("read-only", reason)
    if replicator.stopping:
        return NotReady("stopping", "this master is about to stop")
    if replicator.disk_full_at is not None and now < replicator.disk_full_at + DISK_FULL_S:
        return NotReady("disk-full", "the master's disk is full: nothing is appended until there is room")
    return None


def _status(settings: MasterSettings, replicator: Replicator) -> dict[str, Any]:
    reign = replicator.reign
    progress = reign.progress
    now = time.monotonic()

    def shown(secondary: Secondary) -> dict[str, Any]:
        seen = secondary.last_seen
        return {
            "name": secondary.name,
            "state": secondary.health(now).value,
            "acked_end": secondary.acked_end,
            "lag": progress.end.offset - secondary.acked_end,
            "last_seen_s": None if seen is None else round(now - seen, 3),
        }

    return {
        "name": settings.node.name,
        "role": "master",
        "log": settings.node.log_name,
        "log_id": reign.id.log_id,
        "epoch": reign.id.epoch,
        "reign_id": reign.id.reign_id,
        "end_offset": progress.end.offset,
        "committed_end": progress.committed_end,
        "nodes": progress.nodes,
        "broker": "connected" if replicator.connected else "disconnected",
        "read_only": reign.read_only(now),
        "waiting": reign.waiting,
        "disk_full": replicator.disk_full,
        "poison": replicator.poison,
        "secondaries": [shown(secondary) for secondary in progress.secondaries.values()],
        "observers": [shown(secondary) for secondary in progress.observers.values()],
    }
