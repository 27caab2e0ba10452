"""Which receivers listen, and what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from telemetry_collector.app.server_tls import ServerTls
from telemetry_collector.config import Config
from telemetry_collector.config.receivers import Receiver, TaggedReceiver
from telemetry_collector.config.section import Address
from telemetry_collector.listeners.requests import Door, RequestConsumer, RequestEvents, Trust
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.verifier import ClientVerifier

if TYPE_CHECKING:
    from telemetry_collector.listeners.requests.http import HttpProtocol
    from telemetry_collector.listeners.requests.scrape import Scraper


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
        limits = config.limits
        self._door = Door(
            consumers, events, request_bytes_max=limits.inflated_bytes_max, bytes_max=limits.inflight_bytes_max
        )
        self._tls = ServerTls(config.security)
        self._scraper = self._built_scraper()
        self._listeners: list[RequestListener] = [*self._built_grpc(), *self._built_http()]

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
            if self._scraper is not None:
                await self._scraper.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self, timeout_secs: float = 5.0) -> None:
        """Answers what is under way, for so long. Idempotent."""
        if self._scraper is not None:
            await self._scraper.stop()
        await asyncio.gather(*(listener.stop(timeout_secs) for listener in self._listeners))
        self._events.stopped()

    def update_trust(self, verifier: ClientVerifier, allowlist: AllowList) -> None:
        """Judges clients by these from the next request on, and shows them what the server's files say now.

        CertificateError names a file that cannot be used; what was shown before is shown then.
        """
        self._trust.update(verifier, allowlist)
        self._tls.read_again()

    def _built_scraper(self) -> Scraper | None:
        jobs = self._config.scrape.jobs
        if not jobs:
            return None
        from telemetry_collector.listeners.requests.scrape import Scraper

        return Scraper(jobs, self._door)

    def _built_grpc(self) -> Iterator[RequestListener]:
        grpc = self._config.receivers.otlp_grpc
        if grpc.listen_addr is None:
            return
        from telemetry_collector.listeners.requests.grpc import GrpcListener

        yield GrpcListener(
            "otlp_grpc",
            grpc.listen_addr,
            grpc.ignored_attributes,
            self._door,
            self._trust if grpc.security == "mutual" else None,
            self._tls.grpc_files(grpc.security) if grpc.security != "off" else None,
        )

    def _built_http(self) -> Iterator[RequestListener]:
        receivers = self._config.receivers
        otlp, influx, remote_write = receivers.otlp_http, receivers.influx, receivers.remote_write
        if all(receiver.listen_addr is None for receiver in (otlp, influx, remote_write)):
            return
        from telemetry_collector.listeners.requests.http import HttpListener
        from telemetry_collector.listeners.requests.influx import InfluxHttp
        from telemetry_collector.listeners.requests.otlp import OtlpHttp
        from telemetry_collector.listeners.requests.prometheus import RemoteWriteHttp

        over_http: list[tuple[str, Receiver, HttpProtocol]] = [
            ("otlp_http", otlp, OtlpHttp(otlp.ignored_attributes, self._door.takes)),
            ("influx", influx, InfluxHttp(influx.rename_tags, _secret(influx))),
            ("remote_write", remote_write, RemoteWriteHttp(remote_write.rename_tags, _secret(remote_write))),
        ]
        for name, receiver, protocol in over_http:
            if receiver.listen_addr is not None:
                tls = self._tls.context(receiver.security) if receiver.security != "off" else None
                trust = self._trust if receiver.security == "mutual" else None
                yield HttpListener(name, receiver.listen_addr, protocol, self._door, trust, tls)


def _secret(receiver: TaggedReceiver) -> str | None:
    return receiver.token.get_secret_value() if receiver.token is not None else None
