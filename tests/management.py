"""The broker's management API, for what a test does to the broker and looks up there."""

import base64
import json
from io import BytesIO
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from tests.container_broker import AnyBroker


class Management:
    """A path is given in its parts, below /api: they are quoted here."""

    def __init__(self, broker: AnyBroker, http: aiohttp.ClientSession) -> None:
        self._url = broker.management_url
        self._http = http
        login = base64.b64encode(":".join(broker.management_auth).encode()).decode()
        self._headers = {"Authorization": f"Basic {login}"}

    async def get(self, *path: str) -> Any:
        async with self._http.get(self._at(path), headers=self._headers) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def delete(self, *path: str) -> None:
        async with self._http.delete(self._at(path), headers=self._headers) as response:
            assert response.status == 204, await response.text()

    async def put(self, *path: str, **fields: Any) -> None:
        body = BytesIO(json.dumps(fields).encode())
        async with self._http.put(self._at(path), data=body, headers=self._headers) as response:
            assert response.status in (201, 204), await response.text()

    async def publish(self, exchange: str, **properties: Any) -> bool:
        """Publish an empty delivery with these properties. False: the broker refuses them."""
        fields = {"properties": properties, "routing_key": "", "payload": "", "payload_encoding": "string"}
        body = BytesIO(json.dumps(fields).encode())
        url = self._at(("exchanges", "/", exchange, "publish"))
        async with self._http.post(url, data=body, headers=self._headers) as response:
            assert response.status in (200, 400), await response.text()
            return response.status == 200

    def _at(self, path: tuple[str, ...]) -> URL:
        return URL("/".join([f"{self._url}/api", *(quote(part, safe="") for part in path)]), encoded=True)
