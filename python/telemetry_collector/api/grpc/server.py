"""Where the service listens: an address, a unix socket or both, with one set of methods."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from telemetry_collector.api.grpc import calls, standard
from telemetry_collector.api.grpc.events import GrpcEvents
from telemetry_collector.api.grpc.standard import StandardCalls
from telemetry_collector.config.section import SOCKET_PATH_BYTES_MAX, Address
from telemetry_collector.errors import AddressError
from telemetry_collector.listeners.requests.grpc import ServerFiles, bind, server_options
from telemetry_collector.observe.logs import logger

log = logger(__name__)

MESSAGE_BYTES_MAX: Final = 10 * 1024 * 1024
"""One message, either way."""
GRPC_CALLS_MAX: Final = 2 * (calls.CALLS_MAX + standard.CALLS_MAX)
"""Calls that gRPC itself lets in; further ones it refuses with RESOURCE_EXHAUSTED, so what clients share comes before,
with room for those that are being refused."""
CONNECTIONS_MAX: Final = 1_024
"""Connections; further ones are closed at once."""
STOP_SECS_MAX: Final = 5.0
LEAVE_SECS: Final = 0.2
"""How long the last answers may take to leave."""
SOCKET_MODE: Final = 0o660
"""Of the socket's file: whoever may write it may send points of any node, ask, and change rules."""

Services = Mapping[str, Mapping[str, grpc.RpcMethodHandler]]
"""Handlers by method, by service with its package."""


class GrpcServer:
    """Serves these methods, and besides them server reflection and the standard health service."""

    def __init__(
        self,
        services: Services,
        address: Address | None,
        unix_socket: Path | None,
        files: ServerFiles | None,
        finish: Callable[[], Awaitable[None]],
        events: GrpcEvents,
    ) -> None:
        """`files` are the address's for TLS; None: plain. `finish` ends streams that are open and returns
        when every call under way is answered."""
        self._services = services
        self._address = address
        self._unix_socket = unix_socket
        self._files = files
        self._finish = finish
        self._events = events
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None

    @property
    def address(self) -> Address | None:
        """Where it listens, with the port that the system chose."""
        return self._address

    async def start(self) -> None:
        """Begins to listen. AddressError when address or socket cannot be had; it listens on neither then."""
        server = grpc.aio.server(
            interceptors=(StandardCalls(self._events),),
            options=(
                *server_options(MESSAGE_BYTES_MAX, CONNECTIONS_MAX),
                ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
            ),
            maximum_concurrent_rpcs=GRPC_CALLS_MAX,
        )
        for name, methods in self._services.items():
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, dict(methods)),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection((*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        try:
            if self._address is not None:
                self._address = bind(server, self._address, self._files, "gRPC", "grpc.listen_addr")
            if self._unix_socket is not None:
                _listen_on_socket(server, self._unix_socket)
            await server.start()
        except BaseException:
            await server.stop(None)
            raise
        self._server = server
        for name in ("", *self._services):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        log.info(
            "grpc_started",
            addr=str(self._address) if self._address is not None else None,
            tls=self._files is not None,
            unix_socket=str(self._unix_socket) if self._unix_socket is not None else None,
        )

    async def tell_serving(self, name: str, *, serving: bool) -> None:
        """What standard health says of one service from now on; while it stops, none serves."""
        status = health_pb2.HealthCheckResponse
        await self._health.set(name, status.SERVING if serving else status.NOT_SERVING)

    async def stop(self, timeout_secs: float = STOP_SECS_MAX) -> None:
        """Stops listening and answers what is under way, for so long. Idempotent, and safe before `start`."""
        server, self._server = self._server, None
        if server is None:
            return
        await self._health.enter_graceful_shutdown()
        # From here on new calls are refused.
        ending = asyncio.create_task(server.stop(timeout_secs))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_secs):
                await self._finish()
        # What is left is watching health, and would for ever; answers that were given are on their way.
        await server.stop(min(LEAVE_SECS, timeout_secs))
        await ending
        if self._unix_socket is not None:
            self._unix_socket.unlink(missing_ok=True)


def _listen_on_socket(server: grpc.aio.Server, path: Path) -> None:
    try:
        _remove_left_over(path)
        server.add_insecure_port(f"unix:{path}")
        path.chmod(SOCKET_MODE)
    except (RuntimeError, OSError) as error:
        raise AddressError(
            f"cannot listen on {path} for gRPC: {error}; expected a path in a directory that this user may write, of "
            f"at most {SOCKET_PATH_BYTES_MAX} bytes, in grpc.unix_socket"
        ) from error


def _remove_left_over(path: Path) -> None:
    """A socket that nobody listens on was left by a process that died. OSError when somebody does, or it is no socket:
    gRPC would take its place without a word."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError("it is there, and no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, contextlib.suppress(ConnectionRefusedError):
        probe.connect(str(path))
        raise FileExistsError("another process listens on it")
    path.unlink()
