"""Requests of the tests that read a node's log."""

import json
from typing import Any

from aiohttp import ClientResponse

from tests.cluster import Cluster, Node


async def read(
    cluster: Cluster, node: Node, path: str, *, method: str = "GET", **headers: str
) -> tuple[ClientResponse, bytes]:
    async with cluster.http.request(method, node.url + path, headers=headers) as response:
        return response, await response.read()


async def problem(cluster: Cluster, node: Node, path: str) -> tuple[int, dict[str, Any]]:
    response, body = await read(cluster, node, path)
    assert response.content_type == "application/problem+json", body
    return response.status, json.loads(body)


def offsets(page: dict[str, Any]) -> list[int]:
    return [record["offset"] for record in page["messages"]]


async def read_offsets(node: Node, query: str) -> list[int]:
    return offsets(await node.get(f"/messages?{query}"))
