"""The master's HTTP facade: appending, in the native form and the seed's, and waiting for copies."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from aiohttp import web

from infra.http.direct import DIRECT, DirectHandler, Reply
from infra.http.head import Headers
from infra.http.library import release_body
from infra.http.problems import HttpProblem, accepts_json, failure, json_response, log_refusal
from master import answers
from master.outcome import (
    EndMismatchError,
    KeyReusedError,
    NoSuchRecordError,
    NotCommittedError,
    NotReachedError,
    ReplicationResult,
)
from master.replicator import Replicator
from master.requests import (
    NDJSON,
    Cluster,
    Concern,
    Write,
    direct_writes,
    read_concern,
    read_seed_write,
    read_write,
)
from node.http.reading.routes import WAIT_FOR_COPIES
from replicated_log.master.reign import OverloadedError, ReadOnlyError
from replicated_log.wire.errors import DiskFullError
from replicated_log.write_concern import majority

REPLICATOR: Final = web.AppKey("replicator", Replicator)
CLUSTER: Final = web.AppKey("cluster", Cluster)
NEVER_STORED: Final = {"Cache-Control": "no-store"}
"""For answers that are true only now: caches would otherwise keep a 404 as they like."""


def add_facade(app: web.Application, replicator: Replicator, default_w: str) -> None:
    """Serve writes. ``default_w`` is the write concern of a request that asks for none."""
    app[REPLICATOR] = replicator
    app[CLUSTER] = Cluster(replicator.reign.progress.nodes, default_w)
    app[WAIT_FOR_COPIES] = wait_for_copies
    app.router.add_post("/", post_seed)
    app.router.add_post("/messages", post_messages)
    app.router.add_get("/health", show_health)
    app[DIRECT]["POST", "/messages"] = partial(post_directly, replicator, app[CLUSTER])


async def post_seed(request: web.Request) -> web.Response:
    """The seed's form, and its answer."""
    write, message = await read_seed_write(request, request.app[CLUSTER])
    result = await _append(request.app[REPLICATOR], write)
    headers = answers.headers(result)
    if accepts_json(request):
        return json_response(answers.outcome(result, write.concern), headers=headers)
    return web.Response(text=f"Message received: {message}", headers=headers)


async def post_messages(request: web.Request) -> web.Response:
    """The native form: one message, or many at once."""
    write = await read_write(request, request.app[CLUSTER])
    # From here on the reign counts the messages, until they are on disk.
    release_body(request)
    result = await _append(request.app[REPLICATOR], write)
    outcome = answers.outcome(result, write.concern)
    if request.content_type == NDJSON:
        outcome = {"first_offset": result.offset, "count": result.count, **outcome}
    return json_response(outcome, status=201, headers=answers.headers(result))


def post_directly(replicator: Replicator, cluster: Cluster, headers: Headers) -> DirectHandler | None:
    """The native form, as :func:`post_messages` does it. Requests that are to be refused are left to that one."""
    try:
        read = direct_writes(headers, cluster)
    except HttpProblem:
        return None
    return None if read is None else partial(_begin_directly, replicator, read)


def _begin_directly(replicator: Replicator, read: Callable[[bytes], Write | None], body: bytes, reply: Reply) -> bool:
    try:
        write = read(body)
        if write is None:
            return False
        concern = write.concern
        pending = replicator.begin(
            write.messages,
            partial(_reply, replicator, write, reply),
            w=concern.w,
            timeout_s=concern.timeout_s,
            key=write.key,
            if_end=write.if_end,
        )
    except (HttpProblem, ReadOnlyError, OverloadedError):
        return False

    def forget() -> None:
        if replicator.forget(pending):
            replicator.metrics.answered("client-gone", concern.w)

    reply.when_gone(forget)
    return True


def _reply(replicator: Replicator, write: Write, reply: Reply, outcome: ReplicationResult | Exception) -> None:
    if isinstance(outcome, ReplicationResult):
        replicator.metrics.answered(_name(outcome), write.concern.w)
        reply.send(201, answers.header_lines(outcome), answers.outcome_json(outcome, write.concern).encode())
        return
    asked = ("POST", "/messages")
    if problem := _problem(outcome, write):
        replicator.metrics.answered(problem.code, write.concern.w)
        log_refusal(problem, *asked)
    else:
        problem = failure(*asked, outcome, appended="unknown")
    reply.send(problem.status, problem.raw_headers(), problem.body())


async def wait_for_copies(request: web.Request, offset: int) -> web.Response:
    """GET /messages/{offset}?w=: wait until that many nodes hold a record that exists."""
    concern = read_concern(request, request.app[CLUSTER])
    try:
        result = await request.app[REPLICATOR].wait(offset, w=concern.w, timeout_s=concern.timeout_s)
    except NoSuchRecordError as error:
        detail = f"there is no record at offset {offset} yet; the log ends at {error.end_offset}"
        raise HttpProblem(404, "no-such-record", detail, headers=NEVER_STORED, end_offset=error.end_offset) from error
    except OverloadedError as error:
        raise _overloaded(error) from error
    except NotReachedError as error:
        raise _not_reached(error.result, concern, retry="safe") from error
    return json_response(answers.outcome(result, concern), headers=NEVER_STORED)


async def show_health(request: web.Request) -> web.Response:
    """How the master sees each configured secondary, and whether it may append."""
    reign = request.app[REPLICATOR].reign
    now = time.monotonic()
    return json_response(
        {
            "alive": reign.progress.alive(now),
            "majority": majority(reign.progress.nodes),
            "nodes": reign.progress.nodes,
            "read_only": reign.read_only(now),
            "secondaries": {name: node.health(now).value for name, node in reign.progress.secondaries.items()},
        }
    )


async def _append(replicator: Replicator, write: Write) -> ReplicationResult:
    """Append, or raise a problem that says what became of the messages; count the outcome, also when nobody waits."""
    try:
        result = await replicator.append(
            write.messages, w=write.concern.w, timeout_s=write.concern.timeout_s, key=write.key, if_end=write.if_end
        )
    except asyncio.CancelledError:
        replicator.metrics.answered("client-gone", write.concern.w)
        raise
    except Exception as error:
        problem = _problem(error, write)
        if problem is None:
            raise
        replicator.metrics.answered(problem.code, write.concern.w)
        raise problem from error
    replicator.metrics.answered(_name(result), write.concern.w)
    return result


def _problem(error: BaseException, write: Write) -> HttpProblem | None:
    """Here the log's errors get their HTTP status."""
    match error:
        case ReadOnlyError():
            return HttpProblem(503, "read-only", str(error))
        case OverloadedError():
            return _overloaded(error)
        case DiskFullError():
            return HttpProblem(507, "disk-full", str(error))
        case KeyReusedError():
            return HttpProblem(422, "key-reused", "this Idempotency-Key belongs to an append of other messages")
        case EndMismatchError():
            detail = f"the log does not end at {write.if_end}, but at {error.end_offset}"
            return HttpProblem(412, "end-mismatch", detail, end_offset=error.end_offset)
        case NotCommittedError():
            return HttpProblem(504, "commit-timeout", str(error), appended="unknown")
        case NotReachedError():
            return _not_reached(error.result, write.concern)
        case _:
            return None


def _name(result: ReplicationResult) -> str:
    """What the metrics call such an outcome."""
    return "replayed" if result.replayed else "appended"


def _overloaded(error: OverloadedError) -> HttpProblem:
    return HttpProblem(503, "overloaded", str(error), headers={"Retry-After": "1"})


def _not_reached(result: ReplicationResult, concern: Concern, retry: str | None = None) -> HttpProblem:
    acked = [name for name, _ in result.held_by]
    what = (
        f"offset {result.offset}"
        if result.count == 1
        else f"offsets {result.offset} to {result.offset + result.count - 1}"
    )
    return HttpProblem(
        504,
        "write-concern-timeout",
        f"what was appended at {what} is being replicated, but after {result.elapsed_ms / 1000:.3g} s "
        f"it is on {len(acked)} of the {concern.w} nodes asked for",
        appended="yes",
        retry=retry,
        headers=answers.headers(result),
        acked=acked,
        missing=result.missing,
        **({"first_offset": result.offset, "count": result.count} if result.count > 1 else {}),
        **answers.outcome(result, concern),
    )
