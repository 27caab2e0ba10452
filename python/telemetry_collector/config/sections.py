"""The sections that belong to no single component. A component's own section stands beside its code.

Bounds are what the collector can do, not what is wise; config.example.yaml tells what is wise.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from telemetry_collector.config.files import (
    CertificateFile,
    KeyFile,
    RevocationFile,
    checks_files,
    read_certificates,
    read_private_key,
)
from telemetry_collector.config.section import Address, Port, Seconds, Section, Text, WholeSeconds

KIB, MIB, GIB, TIB = 1024, 1024**2, 1024**3, 1024**4

CERTIFICATE_DIR = Path("/etc/horizon/certs")
"""Where a service's certificates are unless the configuration says otherwise."""


class Server(Section):
    """The QUIC listener."""

    listen_addr: Address = Field(Address("0.0.0.0", 5001), description="the address to listen on, as host:port")
    transport: Literal["aioquic", "quinn"] = Field(
        "aioquic", description="what speaks QUIC: aioquic, which uses one processor, or quinn, which uses all"
    )
    threads: int | None = Field(
        None, ge=1, le=1_024, description="threads of the quinn transport, or null for one a processor"
    )
    max_connections: int = Field(1000, ge=1, le=1_000_000, description="connections open at a time")
    max_connections_per_identity: int | None = Field(
        64, ge=1, le=1_000_000, description="connections of one identity open at a time, or null for no bound"
    )
    handshakes_per_address: int = Field(
        64, ge=1, le=1_000_000, description="handshakes of one address under way at a time"
    )
    connections_per_address_per_sec: int = Field(
        50, ge=1, le=1_000_000, description="connections that one address may begin a second"
    )
    connection_timeout_secs: Seconds = Field(300.0, description="a connection without a frame for so long is closed")
    shutdown_timeout_secs: Seconds = Field(30.0, description="how long stopping may take before it is cut short")


class Tls(Section):
    """A side's own certificate and what it trusts; the base of both sides' `security` section."""

    tls_cert_path: CertificateFile = Field(
        CERTIFICATE_DIR / "server.pem", description="the certificate to show, as a PEM file, its intermediates after it"
    )
    tls_key_path: KeyFile = Field(CERTIFICATE_DIR / "server.key", description="the certificate's private key, as PEM")
    tls_ca_path: CertificateFile = Field(
        CERTIFICATE_DIR / "ca.pem", description="the authorities that the other side's certificate must come from"
    )
    tls_crl_path: RevocationFile | None = Field(None, description="a revocation list, as PEM, or null for none")

    @property
    def files(self) -> dict[str, Path]:
        """The files that it names, by their keys."""
        paths = {key: getattr(self, key) for key in ("tls_cert_path", "tls_key_path", "tls_ca_path", "tls_crl_path")}
        return {key: path for key, path in paths.items() if path is not None}

    @model_validator(mode="after")
    def _key_fits_certificate(self, info: ValidationInfo) -> Self:
        if checks_files(info):
            certificate = read_certificates(self.tls_cert_path)[0]
            if read_private_key(self.tls_key_path).public_key() != certificate.public_key():
                raise ValueError(
                    f"tls_key_path {self.tls_key_path} is not the key of tls_cert_path {self.tls_cert_path}; "
                    "expected the two to be made together"
                )
        return self


CARDINALITY_MAX = 3 * GIB // 128
"""The core's bound: a checkpoint has 3 GiB, and a series takes about 128 bytes. Beyond, the journal would fill."""


class Security(Tls):
    """The collector's certificates and whom it lets in."""

    allowed_identities: tuple[Text, ...] = Field(
        ("*",), min_length=1, description="patterns of the identities that may connect, at least one"
    )
    bind_node_id: bool = Field(True, description="whether a batch may speak only for its certificate's node")
    relays: tuple[Text, ...] = Field((), description="patterns of the identities that may speak for any node")


class AgentSecurity(Tls):
    """The agent's certificate and the authorities of the collectors it trusts."""

    tls_cert_path: CertificateFile = Field(
        CERTIFICATE_DIR / "node.pem", description="the node's certificate, as a PEM file, its intermediates after it"
    )
    tls_key_path: KeyFile = Field(CERTIFICATE_DIR / "node.key", description="the certificate's private key, as PEM")


class Limits(Section):
    """Every bound that outside data can meet and an operator may set."""

    max_cardinality: int = Field(
        100_000,
        ge=1,
        le=CARDINALITY_MAX,
        description="series active at a time; at most what a checkpoint of the journal has room for",
    )
    series_idle_secs: WholeSeconds = Field(86_400, description="a series without a point for so long is forgotten")
    max_batch_size: int = Field(1_000, ge=1, le=1_000_000, description="points of one batch")
    backpressure_threshold: int = Field(
        5_000, ge=1, le=10_000_000, description="batches received and not yet stored above which agents are slowed down"
    )
    inflight_bytes_max: int = Field(
        256 * MIB, ge=MIB, le=TIB, description="bytes received and not yet stored, over all connections"
    )
    frame_bytes_max: int = Field(MIB, ge=KIB, le=256 * MIB, description="bytes of one batch as it is sent")
    inflated_bytes_max: int = Field(16 * MIB, ge=KIB, le=GIB, description="bytes of one batch when inflated")
    timestamp_past_secs: int = Field(
        604_800, ge=1, le=100 * 366 * 86_400, description="how far back a point's time may lie"
    )
    timestamp_future_secs: int = Field(600, ge=0, le=366 * 86_400, description="how far ahead a point's time may lie")

    @model_validator(mode="after")
    def _frames_fit(self) -> Self:
        if self.inflight_bytes_max < self.frame_bytes_max:
            raise ValueError(
                f"inflight_bytes_max {self.inflight_bytes_max} is below frame_bytes_max {self.frame_bytes_max}; "
                "expected room for at least one frame"
            )
        return self


class Journal(Section):
    """The log on disk between acknowledging and writing."""

    dir: Path = Field(
        Path("/var/lib/horizon/journal"), description="the journal's directory, on a disk that keeps what it synced"
    )
    segment_bytes: int = Field(64 * MIB, ge=MIB, le=2 * GIB, description="size of one preallocated file")
    max_bytes: int = Field(16 * GIB, ge=2 * MIB, le=1024 * TIB, description="what all segments may take on disk")
    max_age_secs: Seconds | None = Field(
        86_400, description="age of what some writer has not yet written that is worth a warning, or null for none"
    )
    recent_bytes_max: int = Field(16 * MIB, ge=0, le=TIB, description="memory for blocks that writers read next")

    @model_validator(mode="after")
    def _two_segments_fit(self) -> Self:
        if self.max_bytes < 2 * self.segment_bytes:
            raise ValueError(
                f"max_bytes {self.max_bytes} is below two segments of segment_bytes {self.segment_bytes}; "
                f"expected at least {2 * self.segment_bytes}"
            )
        return self


class Observability(Section):
    """How the collector is watched."""

    metrics_port: Port = Field(9091, description="the port of /metrics, /health and /ready; 0 lets the system choose")
    metrics_addr: Text = Field("0.0.0.0", description="the address that /metrics listens on")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="the least level that is logged"
    )
    log_format: Literal["auto", "json", "console"] = Field("auto", description="how log lines look")


class AgentObservability(Observability):
    """How an agent is watched; on a port of its own, because it may share a machine with a collector."""

    metrics_port: Port = Field(9092, description="the port of /metrics, /health and /ready; 0 lets the system choose")


__all__ = [
    "CERTIFICATE_DIR",
    "AgentObservability",
    "AgentSecurity",
    "Journal",
    "Limits",
    "Observability",
    "Security",
    "Server",
    "Tls",
]
