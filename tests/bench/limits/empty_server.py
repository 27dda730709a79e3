"""A server that does nothing but answer: it reads an append as the master does, and claims that it is done.

Argument: the port on 127.0.0.1 to serve at. It is written as aiohttp's users write such a thing.
"""

import asyncio
import sys
from typing import Final

import uvloop
from aiohttp import web

ANSWER: Final = {
    "offset": 123456,
    "epoch": 1,
    "w": 3,
    "write_concern": "3",
    "acks": [{"node": "master", "ms": 1.234}, {"node": "b", "ms": 2.345}, {"node": "c", "ms": 2.456}],
    "elapsed_ms": 2.567,
}
_HEADERS: Final = {"Location": f"/messages/{ANSWER['offset']}"}
_BACKLOG: Final = 1024


async def post_messages(request: web.Request) -> web.Response:
    """The answer to an append; 400 to what does not look like one."""
    match await request.json():
        case {"message": str(), "w": int()}:
            return web.json_response(ANSWER, status=201, headers=_HEADERS)
    raise web.HTTPBadRequest


async def serve(port: int) -> None:
    """Serve for ever."""
    app = web.Application()
    app.router.add_post("/messages", post_messages)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=_BACKLOG).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
