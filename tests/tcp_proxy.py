"""A way from a node to the broker that can be disturbed: a TCP proxy."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

from yarl import URL

from infra.broker.free_ports import free_ports
from tests.cluster import eventually

TO_BROKER: Final = "to broker"
TO_NODE: Final = "to node"
BOTH: Final = (TO_BROKER, TO_NODE)


class _Connection:
    """One connection of the node's, and ours to the broker for it. Each way has a gate."""

    def __init__(self, node: asyncio.StreamWriter, broker: asyncio.StreamWriter) -> None:
        self.writers = {TO_BROKER: broker, TO_NODE: node}
        self.gates = {way: asyncio.Event() for way in BOTH}
        for gate in self.gates.values():
            gate.set()

    def cut(self) -> None:
        """Both ends see their connection reset."""
        for writer in self.writers.values():
            writer.transport.abort()


class TcpProxy:
    """Forwards to the broker at ``amqp_url``. What it holds back, ends of connections too, arrives once released.

    With ``tls``, nodes reach it over TLS only, and it the broker as ever.
    """

    def __init__(self, amqp_url: str, tls: ssl.SSLContext | None = None) -> None:
        self._broker = URL(amqp_url)
        self._tls = tls
        (self._port,) = free_ports(1)
        scheme = "amqps" if tls else "amqp"
        self.url = str(self._broker.with_scheme(scheme).with_port(self._port).with_host("127.0.0.1"))
        self.delay_s = 0.0
        """How long each byte takes, in either way."""
        self.bytes_per_s: float | None = None
        """How many bytes get through, on each connection in each way; None for all that come."""
        self._held: set[str] = set()
        self._connections: set[_Connection] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["TcpProxy"]:
        server = await asyncio.start_server(self._forward, "127.0.0.1", self._port, ssl=self._tls)
        try:
            yield self
        finally:
            server.close()
            self.release()
            self.cut()
            await eventually(lambda: not self._connections, "every connection has ended")

    def hold_all(self, ways: Iterable[str] = BOTH) -> None:
        """Forward nothing in these ways, on connections still to come as well, until :meth:`release`."""
        self._held = set(ways)
        self.hold_existing(ways)

    def hold_existing(self, ways: Iterable[str] = BOTH) -> None:
        """Forward nothing in these ways on the connections there are; new ones are whole."""
        for connection in self._connections:
            for way in ways:
                connection.gates[way].clear()

    def release(self) -> None:
        self._held.clear()
        for connection in self._connections:
            for gate in connection.gates.values():
                gate.set()

    def cut(self) -> None:
        """Reset every connection; new ones can be made at once."""
        for connection in self._connections:
            connection.cut()

    def connections(self) -> frozenset[object]:
        """Those there are now; one that its node has ended in good order stays as long as it is held."""
        return frozenset(self._connections)

    async def _forward(self, from_node: asyncio.StreamReader, to_node: asyncio.StreamWriter) -> None:
        try:
            from_broker, to_broker = await asyncio.open_connection(self._broker.host, self._broker.port)
        except OSError:
            to_node.transport.abort()
            return
        connection = _Connection(to_node, to_broker)
        self._connections.add(connection)
        for way in self._held:
            connection.gates[way].clear()
        try:
            async with asyncio.TaskGroup() as tasks:
                for way, reader in ((TO_BROKER, from_node), (TO_NODE, from_broker)):
                    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(100)
                    tasks.create_task(self._take(reader, under_way))
                    tasks.create_task(self._give(under_way, connection, way))
        except* ConnectionError:
            connection.cut()
        finally:
            self._connections.discard(connection)
            for writer in connection.writers.values():
                writer.close()

    async def _take(self, reader: asyncio.StreamReader, under_way: asyncio.Queue[tuple[float, bytes]]) -> None:
        data = b"more"
        while data:
            data = await reader.read(1 << 16)
            await under_way.put((asyncio.get_running_loop().time() + self.delay_s, data))

    async def _give(self, under_way: asyncio.Queue[tuple[float, bytes]], connection: _Connection, way: str) -> None:
        writer = connection.writers[way]
        data = b"more"
        while data:
            due, data = await under_way.get()
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            await connection.gates[way].wait()
            if writer.is_closing():
                raise ConnectionResetError
            if data:
                writer.write(data)
                await writer.drain()
                if self.bytes_per_s is not None:
                    await asyncio.sleep(len(data) / self.bytes_per_s)
            elif writer.can_write_eof():
                writer.write_eof()
            else:
                writer.close()  # TLS ends in both ways at once.
