"""What every node's HTTP has in common: JSON, queries, and errors as RFC 9457 problem details."""

import json
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final

from aiohttp import web

from infra.http.raw import header_lines, response_bytes
from replicated_log.wire.errors import CorruptLogError

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

PROBLEM_JSON: Final = "application/problem+json"
SAFE: Final = "safe"
SAME_KEY: Final = "same-key"
NO: Final = "no"

logger = logging.getLogger(__name__)


class HttpProblem(Exception):  # noqa: N818 - RFC 9457 calls it a problem
    """A refusal or failure, as the client is told.

    ``appended`` is 'no', 'yes' or 'unknown'; None where nothing was to be appended, and 'no' means the same for a GET.
    ``retry`` says whether the same request may be sent again: 'safe', 'same-key' (only with the Idempotency-Key that it
    had, else there may be a second copy) or 'no' (it will fail again); by default it follows from the other two.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        appended: str | None = "no",
        retry: str | None = None,
        headers: Mapping[str, str] | None = None,
        **fields: object,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.appended = appended
        self.retry = retry or _retry(status, appended)
        self.headers = headers
        self.fields = fields

    def body(self, *, of_read: bool = False) -> bytes:
        """The problem in JSON; ``of_read``: the request could not append anything, so this goes without saying."""
        appended = None if of_read and self.appended == "no" else self.appended
        body = {
            "type": f"urn:replog:problem:{self.code}",
            "title": self.code.replace("-", " "),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **({"appended": appended} if appended else {}),
            "retry": self.retry,
            **self.fields,
        }
        return json.dumps(body).encode()

    def response(self, *, of_read: bool = False) -> web.Response:
        return web.Response(
            status=self.status,
            body=self.body(of_read=of_read),
            content_type=PROBLEM_JSON,
            headers=self.headers,
        )

    def raw_response(self) -> bytes:
        """For a connection that is closed after it, and on which no request could be read."""
        return response_bytes(self.status, f"{self.raw_headers()}Connection: close\r\n", self.body())

    def raw_headers(self) -> str:
        """Each a line."""
        return header_lines({"Content-Type": PROBLEM_JSON, **(self.headers or {})})


def answering_problems(handler: Handler) -> Handler:
    """Turn each exception that ``handler`` raises into a problem. The one place where exceptions meet HTTP."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await handler(request)
        except HttpProblem as error:
            # Its traceback leads back to here: in that circle the whole request would stay until Python looks for such.
            problem = error.with_traceback(None)
        except web.HTTPException as error:
            problem = _of_aiohttp(request, error)
        except Exception as error:
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("the client is gone") from error
            appended = None if _reads(request) else "unknown"
            problem = failure(request.method, request.path_qs, error, appended=appended)
            if request.writer.output_size:
                # What is on its way can't be taken back. Break it off, so that nobody takes it for the whole.
                request.transport.abort()
                raise ConnectionResetError("the answer was broken off") from error
            return problem.response()
        log_refusal(problem, request.method, request.path_qs)
        return problem.response(of_read=_reads(request))

    return answer


def log_refusal(problem: HttpProblem, method: str = "", target: str = "") -> None:
    """Write one line. All that comes from the client is escaped in it, unless it is printable ASCII."""
    asked = f"{method} {target[:200]!a}" if method else "a request"
    logger.info("refused %s: %d %s (%s)", asked, problem.status, problem.code, ascii(problem.detail[:200])[1:-1])


def failure(method: str, target: str, error: Exception, *, appended: str | None) -> HttpProblem:
    """What is none of the client's fault: a damaged log, or a bug, whose traceback goes to the node's log."""
    failed = "%s %a failed: %s"
    if isinstance(error, CorruptLogError):
        logger.error(failed, method, target[:200], error)
        return HttpProblem(500, "corrupt-log", str(error), appended=appended)
    logger.error(failed, method, target[:200], error, exc_info=error)
    return HttpProblem(500, "internal-error", "a fault in this node; its log says more", appended=appended)


def _retry(status: int, appended: str | None) -> str:
    if appended in {"yes", "unknown"}:
        return SAME_KEY
    return SAFE if status >= 500 else NO


def _of_aiohttp(request: web.BaseRequest, error: web.HTTPException) -> HttpProblem:
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
    detail = f"{request.method} {request.path[:100]}: {error.reason}"
    return HttpProblem(error.status, error.reason.lower().replace(" ", "-"), detail, headers=headers)


def _reads(request: web.BaseRequest) -> bool:
    return request.method in {"GET", "HEAD"}


def json_response(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json", headers=headers)


def accepts_json(request: web.Request) -> bool:
    """True when the client asks for JSON by name."""
    return "application/json" in request.headers.get("Accept", "").lower()


def check_query(request: web.Request, known: Collection[str]) -> None:
    """Raise HttpProblem when the query has a parameter that is not ``known``, or has one twice."""
    for name in request.query:
        if name not in known:
            wanted = f"; known here: {', '.join(known)}" if known else ", there is none here"
            raise HttpProblem(400, "unknown-parameter", f"unknown query parameter {name[:40]!r}{wanted}")
        if len(request.query.getall(name)) > 1:
            raise HttpProblem(400, "repeated-parameter", f"the query has {name} more than once")
