"""Whom the collector lets in, as the files behind a `security` section say it, and how long they are good."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import final

from prometheus_client import CollectorRegistry

from telemetry_collector.clock import Clock
from telemetry_collector.config import Security, Tls
from telemetry_collector.observe.logs import logger
from telemetry_collector.observe.metrics import gauge
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.validity import concerns, ends
from telemetry_collector.security.verifier import ClientVerifier

log = logger(__name__)


def read_trust(security: Security) -> tuple[ClientVerifier, AllowList]:
    """What the files say now. CertificateError names the file that cannot be used."""
    verifier = ClientVerifier.read(security.tls_ca_path, security.tls_crl_path)
    for authority in verifier.uncovered:
        log.warning("authority_without_revocation_list", authority=authority, effect="its certificates are refused")
    return verifier, AllowList(security.allowed_identities, security.relays)


@final
class Validity:
    """Tells until when a side's own files are good, in the metrics, and in the log what already speaks against them."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._clock = clock
        self._ends = gauge(
            registry,
            "certificate_expiry_timestamp_seconds",
            "When the first certificate or list of the file that a key of security names runs out",
            ("key",),
        )

    def look(self, security: Tls) -> None:
        """Reads the files anew. It may be that the other side's is the clock that is right, so nothing is refused for
        what is found. CertificateError names a file that cannot be used; then nothing is told."""
        found = ends(security)
        self._ends.clear()
        for key, end in found.items():
            self._ends.labels(key).set(end.timestamp())
        for concern in concerns(security, found, datetime.fromtimestamp(self._clock.unix_secs(), UTC)):
            words = {"problem": concern.problem, "effect": concern.effect}
            if concern.key == "security.tls_cert_path" and concern.in_force:
                log.error("own_certificate_unfit", tls_cert_path=concern.path, **words)
            else:
                log.warning("certificates_run_out", key=concern.key, path=concern.path, **words)
