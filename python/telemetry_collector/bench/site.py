"""The files of a measurement, below one directory: certificates, configuration, journal, dataset, logs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from telemetry_collector.bench.plan import Plan, PlanError
from telemetry_collector.bench.reference import node_name
from telemetry_collector.config import Quota
from telemetry_collector.security.authority import set_up
from telemetry_collector.security.issuing import certificate_pem, new_key, private_key_pem, signed, uri_name

CERTIFICATE_DAYS: Final = 7
PARQUET_FLUSH_SECS: Final = 2.0
SHUTDOWN_SECS_MAX: Final = 600.0
"""So long the collector may take for what its writers have not written when the load ends."""
JOURNAL_BYTES_MAX: Final = 8 * 1024**3
_UNBOUNDED: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a connection shows."""

    identity: str
    certificate: Path
    key: Path


class Site:
    """The directory, and what is made in it before a run."""

    def __init__(self, directory: Path, plan: Plan) -> None:
        self.directory = directory
        self.dataset = directory / "parquet"
        self.document = directory / "collector.json"
        self.collector_log = directory / "collector.log"
        self.authority = directory / "certs" / "ca.pem"
        self._plan = plan
        try:
            directory.mkdir(parents=True)
        except OSError as error:
            raise PlanError(f"cannot make the directory {directory}: {error.strerror}") from error
        self._files = set_up(directory / "certs", node="bench")

    def credentials(self) -> list[Credentials]:
        """A certificate for each connection: of the node that it speaks for, or of a relay. They share one key."""
        names = [self._name(number) for number in range(self._plan.connections_wanted)]
        directory = self.directory / "certs" / "agents"
        directory.mkdir()
        key, now = new_key(), datetime.now(UTC)
        (directory / "agents.key").write_bytes(private_key_pem(key))
        authority = x509.load_pem_x509_certificate(self.authority.read_bytes())
        authority_key = serialization.load_pem_private_key((self.directory / "certs" / "ca.key").read_bytes(), None)
        assert isinstance(authority_key, ec.EllipticCurvePrivateKey), "every authority of ours has such a key"
        made = []
        for name in names:
            identity = f"spiffe://telemetry/node/{name}"
            names_of_it = [uri_name(identity)]
            certificate = signed(
                authority, authority_key, key.public_key(), name, "node", names_of_it, now, CERTIFICATE_DAYS
            )
            path = directory / f"{name}.pem"
            path.write_bytes(certificate_pem(certificate))
            made.append(Credentials(identity, path, directory / "agents.key"))
        return made

    def _name(self, connection: int) -> str:
        return f"relay-{connection:05}" if self._plan.relayed else node_name(connection)

    def configure(self, port: int, metrics_port: int, influxdb_url: str | None) -> None:
        """Writes the collector's configuration: its defaults, but for bounds that are to protect it from such loads."""
        plan, files = self._plan, self._files
        document: dict[str, Any] = {
            "server": {
                "listen_addr": f"127.0.0.1:{port}",
                "max_connections": plan.connections_wanted + 10,
                "max_connections_per_identity": None,
                "handshakes_per_address": _UNBOUNDED,
                "connections_per_address_per_sec": _UNBOUNDED,
                "shutdown_timeout_secs": SHUTDOWN_SECS_MAX,
            },
            "security": {
                "tls_cert_path": str(files.server_certificate),
                "tls_key_path": str(files.server_key),
                "tls_ca_path": str(files.ca),
                "relays": ["spiffe://telemetry/node/relay-*"],
            },
            "limits": {
                "max_cardinality": max(plan.agents * plan.series, 1_000) + 1,
                "max_batch_size": max(plan.batch_points, 1_000),
                "frame_bytes_max": max(plan.batch_points * 512, 1024 * 1024),
            },
            "quotas": {"default": dict.fromkeys(Quota.model_fields)},
            "journal": {"dir": str(self.directory / "journal"), "max_bytes": JOURNAL_BYTES_MAX},
            "api": {"http_port": None},
            "observability": {
                "metrics_addr": "127.0.0.1",
                "metrics_port": metrics_port,
                "log_level": "warning",
                "log_format": "json",
            },
        }
        if plan.transport != "aioquic":
            document["server"]["transport"] = plan.transport
        if "parquet" in plan.writers:
            document["parquet"] = {"output_dir": str(self.dataset), "flush_interval_secs": PARQUET_FLUSH_SECS}
        if influxdb_url is not None:
            # The collector reads the environment itself: a token must not stand in a file of ours.
            document["influxdb"] = {
                "url": influxdb_url,
                "org": "${INFLUXDB_ORG:-bench}",
                "bucket": "${INFLUXDB_BUCKET:-bench}",
                "token": "${INFLUXDB_TOKEN:-bench}",
                "catch_up_points_per_sec": None,
            }
        self.document.write_text(json.dumps(document, indent=2) + "\n")
