"""A small cluster that speaks the contract, for the terminal client."""

import asyncio

from aiohttp import web

NAME = web.AppKey("NAME", str)


class StubCluster:
    """A master and two secondaries that share one list; a write is answered once `acknowledged` is set."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.acknowledged = asyncio.Event()
        self.acknowledged.set()
        self.asked_for_status = asyncio.Semaphore(0)
        self.in_time = True
        self.urls: list[str] = []

    def app(self, name: str) -> web.Application:
        app = web.Application()
        app[NAME] = name
        app.add_routes(
            [web.post("/", self._append), web.get("/messages", self._read), web.get("/status", self._status)]
        )
        return app

    async def _append(self, request: web.Request) -> web.Response:
        body = await request.json()
        if not body["message"]:
            problem = {"title": "Bad Request", "detail": "the message is empty", "appended": "no"}
            return web.json_response(problem, status=400, content_type="application/problem+json")
        offset = len(self.messages)
        self.messages.append(body["message"])
        await self.acknowledged.wait()
        if not self.in_time:
            names = {"acked": ["master"], "missing": ["node1", "node2"]}
            late = {"title": "Gateway Timeout", "appended": "yes", "offset": offset, **names}
            return web.json_response(late, status=504, content_type="application/problem+json")
        w = 3 if body["w"] == "all" else 2 if body["w"] == "majority" else min(max(body["w"], 1), 3)
        acks = [{"node": node, "ms": 1000.0 * number} for number, node in enumerate(("master", "node1", "node2")[:w])]
        return web.json_response({"offset": offset, "epoch": 1, "w": w, "acks": acks, "elapsed_ms": 1.0})

    async def _read(self, request: web.Request) -> web.Response:
        start, limit = int(request.query["from"]), int(request.query["limit"])
        page = [
            {"offset": offset, "epoch": 1, "time": "2026-11-22T13:51:08.123Z", "message": message}
            for offset, message in list(enumerate(self.messages))[start : start + limit]
        ]
        return web.json_response({"messages": page, "end_offset": len(self.messages)})

    async def _status(self, request: web.Request) -> web.Response:
        self.asked_for_status.release()
        name, end = request.app[NAME], len(self.messages)
        status: dict[str, object] = {
            "name": name,
            "log": "main",
            "log_id": "ab",
            "epoch": 1,
            "end_offset": end,
            "broker": "connected",
        }
        if name != "master":
            return web.json_response({**status, "role": "secondary", "acked_end": end, "state": "following"})
        secondaries = [
            {"name": "node1", "state": "healthy", "acked_end": end, "lag": 0, "last_seen_s": 0.4},
            {"name": "node2", "state": "suspected", "acked_end": 0, "lag": end, "last_seen_s": None},
        ]
        known = {"role": "master", "committed_end": end, "nodes": 3, "read_only": None, "secondaries": secondaries}
        observers = [{"name": "node9", "state": "healthy", "acked_end": end, "lag": 0, "last_seen_s": 0.1}]
        return web.json_response({**status, **known, "observers": observers})
