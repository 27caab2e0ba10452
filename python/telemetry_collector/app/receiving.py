"""Which receivers listen, and what they are told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from telemetry_collector.config import Config
from telemetry_collector.config.receivers import Receiver
from telemetry_collector.config.section import Address
from telemetry_collector.errors import CertificateError
from telemetry_collector.listeners.requests import (
    Door,
    HttpListener,
    InfluxHttp,
    OtlpHttp,
    RemoteWriteHttp,
    RequestConsumer,
    RequestEvents,
    Trust,
    server_context,
)
from telemetry_collector.listeners.requests.http import HttpProtocol
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.verifier import ClientVerifier


class RequestListener(Protocol):
    """One receiver, whatever it speaks."""

    name: str

    @property
    def address(self) -> Address: ...

    async def start(self) -> None: ...
    async def stop(self, timeout_secs: float = ...) -> None: ...


class Receiving:
    """All receivers of a collector."""

    def __init__(
        self,
        config: Config,
        consumers: Mapping[str, RequestConsumer],
        verifier: ClientVerifier,
        allowlist: AllowList,
        events: RequestEvents,
    ) -> None:
        """`consumers` take requests by signal: metrics, and traces and logs where these are on."""
        self._config = config
        self._events = events
        self._trust = Trust(verifier, allowlist)
        self._door = Door(consumers, events, config.limits.inflated_bytes_max)
        self._listeners: list[RequestListener] = list(self._built())

    @property
    def points_accepted(self) -> int:
        """Points that requests brought and that are stored."""
        return self._events.points_accepted

    @property
    def addresses(self) -> dict[str, Address]:
        """Where each listens."""
        return {listener.name: listener.address for listener in self._listeners}

    async def start(self) -> None:
        """Begins to listen everywhere. AddressError or CertificateError says what is wrong; none listens then."""
        try:
            for listener in self._listeners:
                await listener.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self, timeout_secs: float = 5.0) -> None:
        """Answers what is under way, for so long. Idempotent."""
        await asyncio.gather(*(listener.stop(timeout_secs) for listener in self._listeners))
        self._events.stopped()

    def update_trust(self, verifier: ClientVerifier, allowlist: AllowList) -> None:
        """Judges clients by these from the next request on."""
        self._trust.update(verifier, allowlist)

    def _built(self) -> Sequence[RequestListener]:
        receivers = self._config.receivers
        listeners: list[RequestListener] = []
        grpc = receivers.otlp_grpc
        if grpc.listen_addr is not None:
            from telemetry_collector.listeners.requests.grpc import GrpcListener

            credentials = self._credentials(grpc) if grpc.security != "off" else None
            trust = self._trust if grpc.security == "mutual" else None
            listeners.append(
                GrpcListener("otlp_grpc", grpc.listen_addr, grpc.ignored_attributes, self._door, trust, credentials)
            )
        influx, remote_write = receivers.influx, receivers.remote_write
        token = influx.token.get_secret_value() if influx.token else None
        remote_token = remote_write.token.get_secret_value() if remote_write.token else None
        over_http: list[tuple[str, Receiver, HttpProtocol]] = [
            ("otlp_http", receivers.otlp_http, OtlpHttp(receivers.otlp_http.ignored_attributes, self._door.takes)),
            ("influx", influx, InfluxHttp(influx.rename_tags, token)),
            ("remote_write", remote_write, RemoteWriteHttp(remote_write.rename_tags, remote_token)),
        ]
        for name, receiver, protocol in over_http:
            if receiver.listen_addr is not None:
                tls = self._context(receiver) if receiver.security != "off" else None
                trust = self._trust if receiver.security == "mutual" else None
                listeners.append(HttpListener(name, receiver.listen_addr, protocol, self._door, trust, tls))
        return listeners

    def _context(self, receiver: Receiver) -> Callable[[], ssl.SSLContext]:
        files = self._config.security
        security = receiver.security
        assert security != "off", "asked for TLS alone"

        def read() -> ssl.SSLContext:
            try:
                return server_context(security, files.tls_cert_path, files.tls_key_path, files.tls_ca_path)
            except (OSError, ssl.SSLError) as error:
                raise CertificateError(f"cannot use {files.tls_cert_path} and its key for TLS: {error}") from error

        return read

    def _credentials(self, receiver: Receiver) -> Callable[[], object]:
        files = self._config.security
        security = receiver.security
        assert security != "off", "asked for TLS alone"
        from telemetry_collector.listeners.requests.grpc import server_credentials

        return lambda: server_credentials(security, files.tls_cert_path, files.tls_key_path, files.tls_ca_path)
