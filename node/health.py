"""Whether a node lives, and whether it is ready for its part: GET /health/live and /health/ready."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from infra.http.problems import HttpProblem, json_response


@dataclass(frozen=True, slots=True)
class NotReady:
    """``reason`` is one word for programs, ``detail`` a sentence for people."""

    reason: str
    detail: str


_READINESS: Final[web.AppKey[Callable[[], NotReady | None]]] = web.AppKey("readiness")


def add_health(app: web.Application, readiness: Callable[[], NotReady | None]) -> None:
    """Serve both; ``readiness`` is called for each request, and returns None when the node is ready."""
    app[_READINESS] = readiness
    app.router.add_get("/health/live", show_live)
    app.router.add_get("/health/ready", show_ready)


async def show_live(_: web.Request) -> web.Response:
    """A node that can answer is alive."""
    return json_response({"live": True})


async def show_ready(request: web.Request) -> web.Response:
    if problem := request.app[_READINESS]():
        raise HttpProblem(503, "not-ready", problem.detail, reason=problem.reason)
    return json_response({"ready": True})
