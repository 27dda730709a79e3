"""What every HTTP facade here shares: reading requests, answering, and errors as RFC 9457 problem details."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn

from aiohttp import web

from replicated_log.log_reader import CorruptLogError

MAX_BODY_BYTES: Final = 8 << 20
"""A message of 1 MiB may take six times that in JSON."""
BODY_TIMEOUT_S: Final = 10.0
SHUTDOWN_GRACE_S: Final = 5.0
"""How long requests under way may take to end once the process is told to stop."""

logger = logging.getLogger(__name__)


class HttpProblem(Exception):  # noqa: N818 - RFC 9457 calls it a problem
    """A refusal or failure, as the client is told. ``appended`` is 'no', 'yes' or 'unknown'; None for reads."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        appended: str | None = "no",
        headers: Mapping[str, str] | None = None,
        **fields: object,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.appended = appended
        self.headers = headers
        self.fields = fields

    def response(self) -> web.Response:
        body = {
            "type": f"urn:replog:problem:{self.code}",
            "title": self.code.replace("-", " "),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **({"appended": self.appended} if self.appended else {}),
            **self.fields,
        }
        return web.Response(
            status=self.status,
            body=json.dumps(body).encode(),
            content_type="application/problem+json",
            headers=self.headers,
        )


@web.middleware
async def answer_problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn whatever a handler raises into a problem. The one place where exceptions meet HTTP."""
    writes = request.method not in {"GET", "HEAD"}
    try:
        return await handler(request)
    except HttpProblem as problem:
        return problem.response()
    except web.HTTPRequestEntityTooLarge:
        return HttpProblem(413, "body-too-large", f"the body is larger than {MAX_BODY_BYTES} bytes").response()
    except web.RequestPayloadError as error:
        return HttpProblem(400, "broken-body", f"the body can't be read: {str(error)[:200]}").response()
    except web.HTTPException as error:
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        code = error.reason.lower().replace(" ", "-")
        appended = "no" if writes else None
        detail = f"{request.method} {request.path[:100]}: {error.reason}"
        return HttpProblem(error.status, code, detail, appended=appended, headers=headers).response()
    except CorruptLogError as error:
        logger.error("%s %r failed: %s", request.method, request.path, error)
        return HttpProblem(500, "corrupt-log", str(error), appended="unknown" if writes else None).response()
    except Exception:
        logger.exception("%s %r failed", request.method, request.path)
        appended = "unknown" if writes else None
        return HttpProblem(
            500, "internal-error", "a fault in this node; its log says more", appended=appended
        ).response()


def application() -> web.Application:
    return web.Application(middlewares=[answer_problems], client_max_size=MAX_BODY_BYTES)


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int) -> AsyncIterator[None]:
    """Serve ``app``. On leaving, no more is accepted, and what is under way may end within SHUTDOWN_GRACE_S."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_GRACE_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        logger.info("serving HTTP at %s:%d", host, port)
        yield
    finally:
        await runner.cleanup()


def json_response(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json", headers=headers)


def accepts_json(request: web.Request) -> bool:
    """True when the client asks for JSON by name."""
    return "application/json" in request.headers.get("Accept", "").lower()


async def read_text(request: web.Request) -> str:
    """The body as text. Raises HttpProblem unless it is UTF-8 and says nothing else."""
    charset = (request.charset or "utf-8").lower()
    if charset not in {"utf-8", "utf8", "us-ascii"}:
        raise HttpProblem(415, "unsupported-charset", f"the body must be UTF-8, not {charset[:40]!r}")
    if request.headers.get("Content-Encoding", "identity").lower() not in {"identity", "gzip", "deflate"}:
        raise HttpProblem(415, "unsupported-encoding", "send the body as it is, or gzip or deflate")
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await request.read()
    except TimeoutError as error:
        detail = f"the body was not there after {BODY_TIMEOUT_S:g} s"
        raise HttpProblem(408, "slow-body", detail) from error
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise HttpProblem(400, "not-utf-8", f"the body is not UTF-8: {error.reason} at byte {error.start}") from error


async def read_json_object(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object. Raises HttpProblem, saying what is wrong with it."""
    text = await read_text(request)
    try:
        body = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise HttpProblem(400, "not-json", f"the body is not JSON: {str(error)[:200]}") from error
    if not isinstance(body, dict):
        raise HttpProblem(400, "not-an-object", "the body must be a JSON object")
    return body


def query_number(request: web.Request, name: str, default: int, *, least: int, most: int) -> int:
    """A whole number from the query. Raises HttpProblem when it is none, or out of range."""
    text = request.query.get(name)
    if text is None:
        return default
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 20 else None
    if number is None or not least <= number <= most:
        detail = f"{name} must be a whole number from {least} to {most}, not {text[:40]!r}"
        raise HttpProblem(400, f"invalid-{name}", detail, appended=None)
    return number


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
