"""Which listener speaks QUIC, and what it is told."""

from __future__ import annotations

from typing import Protocol

from telemetry_collector import _core
from telemetry_collector.config import Config
from telemetry_collector.config.section import Address
from telemetry_collector.errors import ConfigError, Mistake
from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.listeners.quic_quinn import QuinnListener
from telemetry_collector.listeners.settings import Deadlines, QuicListenerSettings
from telemetry_collector.pipeline.ingest import Ingest
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.verifier import ClientVerifier


class Listener(Protocol):
    """What the collector asks of a QUIC listener, whichever it is."""

    @property
    def address(self) -> Address: ...
    @property
    def connections(self) -> int: ...

    async def start(self) -> None: ...
    async def stop(self, timeout_secs: float = ...) -> None: ...
    async def reconfigure(
        self, settings: QuicListenerSettings, verifier: ClientVerifier, allowlist: AllowList
    ) -> None: ...
    async def update_trust(self, verifier: ClientVerifier, allowlist: AllowList) -> None: ...


def listener_of(
    config: Config,
    core: _core.Ingest,
    ingest: Ingest,
    verifier: ClientVerifier,
    allowlist: AllowList,
    events: ListenerEvents,
) -> Listener:
    """The one that `server.transport` names. ConfigError when this build has none of that name."""
    require_transport(config)
    settings = listener_settings(config)
    if config.server.transport == "quinn":
        return QuinnListener(settings, core, verifier, allowlist, events)
    # aioquic is loaded where it is asked for.
    from telemetry_collector.listeners.quic_aioquic import QuicListener

    return QuicListener(settings, ingest, verifier, allowlist, events)


def require_transport(config: Config) -> None:
    """ConfigError when the extension was built without what `server.transport` names."""
    if config.server.transport == "quinn" and not hasattr(_core, "QuicServer"):
        problem = "this build of the extension has no quinn (its Cargo feature of that name is off)"
        raise ConfigError([Mistake("server.transport", problem, "aioquic", value="quinn")])


def listener_settings(config: Config) -> QuicListenerSettings:
    """What the configuration says to it."""
    return QuicListenerSettings(
        address=config.server.listen_addr,
        tls_cert_path=config.security.tls_cert_path,
        tls_key_path=config.security.tls_key_path,
        connections_max=config.server.max_connections,
        connections_per_identity_max=config.server.max_connections_per_identity,
        handshakes_per_address=config.server.handshakes_per_address,
        connections_per_address_per_sec=config.server.connections_per_address_per_sec,
        deadlines=Deadlines(idle=config.server.connection_timeout_secs),
        threads=config.server.threads,
    )
