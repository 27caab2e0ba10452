"""One HTTP/1.1 server on one address: what /metrics and the API have in common.

What a client may take is bounded: connections, bytes and number of header fields, bytes of a request's line and body,
the time until a request is complete, and the time until its answer is taken. Every error is JSON,
`{"error": …, "status": …}`, also those of the protocol. It is here because aiohttp, which the receivers have, costs
twelve megabytes ([decision 39](../../../docs/decisions/0039-an-http-server-of-our-own.md)).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import cast, final
from urllib.parse import unquote

from telemetry_collector.errors import AddressError
from telemetry_collector.observe.http_connection import Connection
from telemetry_collector.observe.http_message import Answer, Handler, Request, error, error_body
from telemetry_collector.observe.logs import logger

log = logger(__name__)

CONNECTIONS_MAX = 256
"""Connections open at a time; further ones are answered 503 and closed."""
CONNECTIONS_WAITING_MAX = 64
"""Connections that wait to be accepted; the system refuses further ones."""
STOP_SECS_MAX = 2.0
"""How long stopping waits for answers under way."""
OTHER = "other"
"""The route of what has none."""


@final
class HttpServer:
    """Answers GET and HEAD by handlers. `start` and `stop` are called on one event loop."""

    def __init__(
        self,
        addr: str,
        port: int,
        routes: Mapping[str, Handler],
        *,
        purpose: str,
        port_key: str,
        addr_key: str,
        answered: Callable[[str, int], None] | None = None,
    ) -> None:
        """A route is a path, whose last part may be a name in braces that stands for anything; `answered` is told the
        route and status of each answer. `purpose` and the configuration's keys are for the error's text."""
        self._addr = addr
        self._port = port
        self._routes = routes
        # By what stands before the name in braces.
        self._named = {path.rpartition("/")[0]: path for path in routes if path.endswith("}")}
        self._purpose = purpose
        self._keys = (port_key, addr_key)
        self._answered = answered
        self._listening: asyncio.Server | None = None
        self._connections: set[Connection] = set()

    @property
    def port(self) -> int:
        """The port listened on: where 0 was asked for, the system's choice once started."""
        return self._port

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._connections)

    async def start(self) -> None:
        """Begins to listen. AddressError when the address cannot be had."""
        try:
            self._listening = await asyncio.get_running_loop().create_server(
                self._connection, self._addr, self._port, backlog=CONNECTIONS_WAITING_MAX
            )
        except OSError as problem:
            # asyncio's own text repeats the address, so the system's words are taken by number where there is one.
            number = problem.errno or 0
            reason = os.strerror(number).lower() if number > 0 else problem.strerror or str(problem)
            port_key, addr_key = self._keys
            raise AddressError(
                f"cannot listen on {self._addr} port {self._port} for {self._purpose}: {reason}; "
                f"expected a free port in {port_key} and one of this machine's addresses in {addr_key}"
            ) from problem
        self._port = self._listening.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stops listening, and waits a while until answers under way are taken. Idempotent, and safe before `start`."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.close()
        connections = list(self._connections)
        for connection in connections:
            connection.close()
        if connections:
            await asyncio.wait([connection.over for connection in connections], timeout=STOP_SECS_MAX)
        for connection in list(self._connections):
            connection.abort()

    def _connection(self) -> asyncio.Protocol:
        if len(self._connections) >= CONNECTIONS_MAX:
            return _Refusal()
        return Connection(self._answer, self._connections)

    def _answer(self, request: Request) -> Answer:
        route = self._route(request.path)
        if route is None:
            answer = error(404, "not found")
        elif request.method not in ("GET", "HEAD"):
            answer = error(405, "method not allowed", {"Allow": "GET,HEAD"})
        else:
            try:
                answer = self._routes[route](request)
            except Exception as problem:  # a defect with one request is no other client's
                log.error("http_request_failed", path=request.path, exc_info=problem)
                answer = error(500, "the request could not be answered; the log says why")
        if self._answered is not None:
            self._answered(route or OTHER, answer.status)
        return answer

    def _route(self, path: str) -> str | None:
        if unquote(path) in self._routes:
            return unquote(path)
        # Escapes stay: a name may have a slash in it, which is no part of the path.
        parent, _, name = path.rpartition("/")
        return self._named.get(unquote(parent)) if name else None


class _Refusal(asyncio.Protocol):
    """One connection too many: told so, and closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.WriteTransport, transport)
        body = error_body(503, f"{CONNECTIONS_MAX} connections are open; come back later")
        head = (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
            f"Retry-After: 1\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        transport.write(head.encode() + body)
        transport.close()
