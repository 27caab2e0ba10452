"""A connection over a unix socket, to the agent of this machine: one stream, and permissions for certificates."""

import asyncio
from pathlib import Path

from telemetry_collector.sender.connection import Connection


async def start_over_unix(connection: Connection, path: Path) -> None:
    """Connects. OSError when nobody listens there, or not for us."""
    creating = asyncio.get_running_loop().create_unix_connection(lambda: _Protocol(connection), str(path))
    transport, _ = await creating
    connection.start(_Transport(connection, transport))
    connection.established = True
    connection.pump()


class _Transport:
    """The `Transport` of one connection. A second stream would have to be a second connection: so it ends this one."""

    def __init__(self, connection: Connection, transport: asyncio.Transport) -> None:
        self._connection = connection
        self._transport = transport

    def put(self, stream: int, data: bytes, *, finish: bool) -> None:
        if stream > 0:
            self._connection.lose("a new stream is a new connection")
            return
        if data:
            self._transport.write(data)
        if finish and self._transport.can_write_eof():
            self._transport.write_eof()

    def flush(self) -> None:
        """It is written at once."""

    def close(self, _code: int, _reason: str) -> None:
        self._transport.close()

    def release(self) -> None:
        self._transport.abort()


class _Protocol(asyncio.Protocol):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def data_received(self, data: bytes) -> None:
        self._connection.received(0, data)
        self._connection.pump()

    def connection_lost(self, error: Exception | None) -> None:
        self._connection.lose(str(error) if error else "the agent has closed the connection")
