"""What a refused request leaves behind."""

import gc
import weakref

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from infra.http.problems import HttpProblem, answering_problems


class Body:
    """Something large that a handler has at hand when it refuses."""


async def test_nothing_of_a_refused_request_waits_for_the_collection_of_circles() -> None:
    left: list[weakref.ref[Body]] = []

    async def refuse(_: web.BaseRequest) -> web.StreamResponse:
        body = Body()
        left.append(weakref.ref(body))
        problem = HttpProblem(400, "not-json", "no")
        raise problem

    gc.disable()
    try:
        response = await answering_problems(refuse)(make_mocked_request("POST", "/messages"))
        assert response.status == 400
        assert left[0]() is None
    finally:
        gc.enable()
