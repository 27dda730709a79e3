"""The contract: the document that every node serves, against the code, the README and the nodes' answers."""

import ast
import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from aiohttp import web

import master.server
import secondary.server
from master.requests import DEFAULT_TIMEOUT_S
from node.http.openapi import document
from node.http.reading.query import MAX_TIMEOUT_S
from node.settings import read_node_settings
from secondary.simulation import Effects
from tests.cluster import Cluster
from tests.integration.conftest import NewCluster
from tests.integration.fuzzing import Fuzzer, requests_wanted

ROOT = Path(__file__).parents[2]
NO_BROKER = "amqp://guest:guest@127.0.0.1:1/"

Routes = set[tuple[str, str]]


def described() -> Routes:
    return {(method.upper(), path) for path, item in document()["paths"].items() for method in item}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[web.Application]:
    """The applications that nodes would serve, while this fixture keeps them from it."""
    applications: list[web.Application] = []

    @asynccontextmanager
    async def capture(app: web.Application, _: str, __: int) -> AsyncIterator[None]:
        applications.append(app)
        yield

    monkeypatch.setattr(master.server, "serving", capture)
    monkeypatch.setattr(secondary.server, "serving", capture)
    return applications


def routes(app: web.Application) -> Routes:
    return {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}


async def test_the_document_describes_the_routes_of_every_node_and_no_others(
    served: list[web.Application], tmp_path: Path
) -> None:
    stop = asyncio.Event()
    stop.set()
    environ = {"REPLOG_DATA": str(tmp_path / "master"), "REPLOG_AMQP_URL": NO_BROKER}
    node = read_node_settings(environ, name="master", http="127.0.0.1:1")
    await master.server.run(master.server.MasterSettings(node, ("node1",)), stop)
    node = read_node_settings({**environ, "REPLOG_DATA": str(tmp_path / "node1")}, name="node1", http="127.0.0.1:1")
    await secondary.server.run(secondary.server.SecondarySettings(node, Effects()), stop)
    assert [routes(app) for app in served] == [described(), described()]


def test_the_readmes_table_names_the_routes_of_the_document() -> None:
    table = (ROOT / "README.md").read_text().split("## HTTP")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = {match for row in rows for match in re.findall(r"`(GET|HEAD|POST|PUT) (/[^ ?`]*)", row)}
    # Whatever can be got has a head; the README says so once, for the one where it matters.
    assert named | {("HEAD", path) for method, path in named if method == "GET"} == described()


def test_the_document_is_sound_and_says_what_the_code_says() -> None:
    paths = document()["paths"]
    schemathesis.openapi.from_dict(document()).validate()
    timeout = next(each for each in paths["/messages"]["post"]["parameters"] if each["name"] == "timeout")["schema"]
    assert (timeout["default"], timeout["maximum"]) == (DEFAULT_TIMEOUT_S, MAX_TIMEOUT_S)
    operations = [operation for item in paths.values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)


def test_every_problem_in_the_code_is_in_the_document_and_the_other_way_round() -> None:
    raised, texts = set(), set()
    for file in [file for part in ("infra", "node", "master", "secondary") for file in (ROOT / part).rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(ast.Name("HttpProblem"), [ast.Constant(int(status)), ast.Constant(str(code)), *_]):
                    raised.add((status, code))
                case ast.Constant(str(text)):
                    texts.add(text)
    documented = set(problems(document()["paths"]))
    # What aiohttp refuses is named after its status, and what comes of a parameter's value after the parameter.
    named_elsewhere = re.compile("not-found|expectation-failed|invalid-(from|limit|min-offset)")
    assert raised <= documented
    assert {code for _, code in documented if not named_elsewhere.fullmatch(code)} <= texts


def problems(part: Any) -> Iterator[tuple[int, str]]:
    """Status and code of each problem that is described somewhere in ``part`` of the document."""
    match part:
        case {"code": {"enum": codes}, "status": {"const": status}}:
            yield from ((status, code) for code in codes)
        case dict():
            for each in part.values():
                yield from problems(each)
        case list():
            for each in part:
                yield from problems(each)


async def test_every_node_serves_the_same_document(cluster: Cluster) -> None:
    for node in cluster.nodes:
        assert await node.get("/openapi.json") == document()


@pytest.mark.slow
async def test_no_request_gets_an_answer_that_the_document_does_not_describe(new_cluster: NewCluster) -> None:
    async with new_cluster({"node1": {"REPLOG_ALLOW_SIMULATION": "1"}}) as cluster:
        cluster.master.start(REPLOG_DEFAULT_W="1")
        await cluster.started()
        fuzzer = Fuzzer(await cluster.master.get("/openapi.json"), [node.url for node in cluster.nodes])
        fuzzer.run(requests_wanted())
        # Had the generator gone astray, next to nothing would have gone well.
        of_master, of_node1 = fuzzer.counts.values()
        assert of_master[201] > of_master.total() / 200
        assert of_master[200] > of_master.total() / 10 < of_node1[200]
        assert await cluster.converged()
