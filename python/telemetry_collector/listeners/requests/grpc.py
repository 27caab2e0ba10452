"""OTLP over gRPC. Requests are handed on as the bytes that came: nothing is decoded in Python."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import grpc
import grpc.aio

from telemetry_collector import _core
from telemetry_collector.config.section import Address
from telemetry_collector.errors import AddressError
from telemetry_collector.listeners.requests.door import REQUESTS_MAX, Door, Taken
from telemetry_collector.listeners.requests.events import FAULT, Outcome
from telemetry_collector.listeners.requests.otlp import (
    EXPORTS,
    Signal,
    export_response,
    form_of,
    not_taken,
    retry_details,
)
from telemetry_collector.listeners.requests.peers import Peer, PeerDenied, Trust, anonymous
from telemetry_collector.listeners.requests.reading import (
    CALLS_WAITING_MAX,
    READ_SECS_MAX,
    NoTurn,
    Readings,
    address_of,
)
from telemetry_collector.observe.logs import logger

log = logger(__name__)

CALLS_MAX = 2 * (CALLS_WAITING_MAX + REQUESTS_MAX)
"""Calls under way; gRPC refuses further ones by itself, without the word that they may come again, so the bounds of
those that wait and of those that are taken come before, with room for those that are being answered."""
CONNECTIONS_MAX = 4_096
"""Connections; further ones are closed at once. Who opens them gRPC does not tell before they call."""
IDLE_SECS_MAX = 300
"""A connection without a call for so long is closed; clients that have something to send open another by themselves."""
HANDSHAKE_SECS_MAX = 10
STOP_SECS_MAX = 5.0

_CODES = {
    "malformed": grpc.StatusCode.INVALID_ARGUMENT,
    "too_large": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "denied": grpc.StatusCode.PERMISSION_DENIED,
    "retry_later": grpc.StatusCode.RESOURCE_EXHAUSTED,
    # Clients send again what is answered so; what is UNKNOWN or INTERNAL, OTLP's drop.
    "failed": grpc.StatusCode.UNAVAILABLE,
    "too_slow": grpc.StatusCode.UNAVAILABLE,
}

Context = Any
"""A grpc.aio.ServicerContext; grpc has no types."""
Method = Callable[[AsyncIterator[bytes], Context], Awaitable[bytes]]
"""Takes a call, whose one message is read when it is its turn."""


class GrpcListener:
    """Listens on one address for OTLP's services."""

    def __init__(
        self,
        name: str,
        address: Address,
        ignored_attributes: tuple[str, ...],
        door: Door,
        trust: Trust | None,
        files: ServerFiles | None,
    ) -> None:
        """`trust` judges clients' certificates; None: they show none. `files` are the server's; None: plain."""
        self.name = name
        self._address = address
        self._forms = {signal: form_of(signal, ignored_attributes) for signal in EXPORTS}
        self._door = door
        self._trust = trust
        self._files = files
        self._anonymous = anonymous(name)
        self._readings = Readings()
        self._server: grpc.aio.Server | None = None

    @property
    def address(self) -> Address:
        """Where it listens, with the port that the system chose."""
        return self._address

    async def start(self) -> None:
        """Begins to listen. AddressError when the address cannot be had."""
        server = grpc.aio.server(
            handlers=(_Handlers({method: self._method(signal) for signal, method in EXPORTS.items()}),),
            options=(
                *server_options(self._door.request_bytes_max, CONNECTIONS_MAX),
                ("grpc.max_connection_idle_ms", IDLE_SECS_MAX * 1_000),
            ),
            maximum_concurrent_rpcs=CALLS_MAX,
        )
        self._address = bind(server, self._address, self._files, self.name, f"receivers.{self.name}.listen_addr")
        await server.start()
        self._server = server
        log.info("receiver_started", receiver=self.name, addr=str(self._address), tls=self._files is not None)

    async def stop(self, timeout_secs: float = STOP_SECS_MAX) -> None:
        """Stops listening and answers what is under way, for so long. Idempotent, and safe before `start`."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(timeout_secs)

    def _method(self, signal: Signal) -> Method:
        if not self._door.takes(signal):

            async def refuse(messages: AsyncIterator[bytes], context: Context) -> bytes:
                del messages
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, not_taken(signal))
                raise AssertionError("abort raises")

            return refuse
        form = self._forms[signal]

        async def export(messages: AsyncIterator[bytes], context: Context) -> bytes:
            return await self._export(form, messages, context)

        return export

    async def _export(self, form: _core.RequestForm, messages: AsyncIterator[bytes], context: Context) -> bytes:
        taken = await self._taken(form, messages, context)
        code = _CODES.get(taken.outcome)
        if code is None:
            return export_response(taken)
        if taken.outcome == "retry_later":
            context.set_trailing_metadata((("grpc-status-details-bin", retry_details(taken)),))
        await context.abort(code, taken.problem)
        raise AssertionError("abort raises")

    async def _taken(self, form: _core.RequestForm, messages: AsyncIterator[bytes], context: Context) -> Taken:
        door = self._door
        try:
            peer = self._peer(context)
        except PeerDenied as error:
            door.events.answered(self.name, "denied", str(error))
            return Taken("denied", problem=str(error))
        client = peer.identity if self._trust is not None else address_of(context.peer())
        try:
            body = await self._readings.read(client, messages)
        except NoTurn:
            return door.busy(self.name)
        except TimeoutError:
            return self._unread("too_slow", f"no whole message within {READ_SECS_MAX:g} s")
        if body is None:
            return self._unread("malformed", "a call without a message")
        with door.hold(client) as hold:
            if not (hold.grow(len(body)) and hold.begin()):
                return door.busy(self.name)
            try:
                return await door.take(self.name, form, body, "", peer)
            except Exception as error:  # noqa: BLE001  # the log has it, and the client comes again
                door.events.failed(self.name, error)
                door.events.answered(self.name, "failed")
                return Taken("failed", problem=FAULT)

    def _unread(self, outcome: Outcome, problem: str) -> Taken:
        self._door.events.answered(self.name, outcome, problem)
        return Taken(outcome, problem=problem)

    def _peer(self, context: Context) -> Peer:
        return self._anonymous if self._trust is None else caller(context, self._trust)


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    def __init__(self, methods: dict[str, Method]) -> None:
        # Neither requests nor answers are converted: both are bytes. On the wire a call of one message is a stream of
        # one; said to be a stream, it is not read before it is asked for.
        self._methods = {name: grpc.stream_unary_rpc_method_handler(method) for name, method in methods.items()}

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a method, or None."""
        return self._methods.get(handler_call_details.method)


def server_options(message_bytes_max: int, connections_max: int) -> tuple[tuple[str, int], ...]:
    """What every server over gRPC is told: how large a message may be that it receives, and its bounds."""
    return (
        ("grpc.max_receive_message_length", message_bytes_max),
        # Else windows grow with the bandwidth, to megabytes a call that nobody reads yet.
        ("grpc.http2.bdp_probe", 0),
        # Two collectors on one port would share its connections without a word.
        ("grpc.so_reuseport", 0),
        ("grpc.max_allowed_incoming_connections", connections_max),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECS_MAX * 1_000),
    )


def bind(server: grpc.aio.Server, address: Address, files: ServerFiles | None, purpose: str, key: str) -> Address:
    """Has a server listen there once it starts, with TLS where there are `files`; where that is, with the port that the
    system chose. AddressError names the purpose and the configuration's key when the address cannot be had."""
    try:
        if files is None:
            port = server.add_insecure_port(str(address))
        else:
            port = server.add_secure_port(str(address), files.credentials)
    except (RuntimeError, OSError) as error:
        raise AddressError(
            f"cannot listen on {address} for {purpose}: {error}; "
            f"expected a free port and one of this machine's addresses in {key}"
        ) from error
    return Address(address.host, port)


def caller(context: Context, trust: Trust) -> Peer:
    """Who calls, by the certificate that was shown. PeerDenied says why this one may not."""
    shown = context.auth_context().get("x509_pem_cert")
    if not shown:
        raise PeerDenied("no certificate was shown")
    chain = context.auth_context().get("x509_pem_cert_chain") or (b"",)
    # Whether the client's own stands in the chain as well depends on which side asks.
    behind = [one for one in _certificates_in(chain[0]) if one.strip() != shown[0].strip()]
    return trust.peer_of(shown[0], behind)


def _certificates_in(pem: bytes) -> list[bytes]:
    """The certificates of a PEM text, each by itself."""
    begin = b"-----BEGIN CERTIFICATE-----"
    return [begin + part for part in pem.split(begin)[1:]]


class ServerFiles:
    """TLS as a server, from PEM files that are read again when asked to."""

    def __init__(self, security: Literal["mutual", "server"], certificate: Path, key: Path, authorities: Path) -> None:
        """OSError when a file cannot be read."""
        self._mutual = security == "mutual"
        self._paths = (certificate, key, authorities)
        self._changed = False
        self._read()

    def read(self) -> None:
        """What the files say now is shown from the next connection on. OSError: nothing has changed."""
        self._read()
        self._changed = True

    def _read(self) -> None:
        certificate, key, authorities = (path.read_bytes() for path in self._paths)
        self._pairs = [(key, certificate)]
        self._authorities = authorities if self._mutual else None

    @property
    def credentials(self) -> grpc.ServerCredentials:
        """For the server's port."""
        return grpc.dynamic_ssl_server_credentials(self._configuration(), self._fetch, self._mutual)

    def _configuration(self) -> Any:
        return grpc.ssl_server_certificate_configuration(self._pairs, self._authorities)

    def _fetch(self) -> Any:
        # Called on gRPC's threads at each handshake; None: as before.
        if not self._changed:
            return None
        self._changed = False
        return self._configuration()
