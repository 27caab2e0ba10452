"""Whom the collector lets in, as the files behind a `security` section say it."""

from __future__ import annotations

from datetime import datetime

from telemetry_collector.config import Security
from telemetry_collector.observe.logs import logger
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.description import unfit_for_server
from telemetry_collector.security.verifier import ClientVerifier

log = logger(__name__)


def read_trust(security: Security) -> tuple[ClientVerifier, AllowList]:
    """What the files say now. CertificateError names the file that cannot be used."""
    verifier = ClientVerifier.read(security.tls_ca_path, security.tls_crl_path)
    for authority in verifier.uncovered:
        log.warning("authority_without_revocation_list", authority=authority, effect="its certificates are refused")
    return verifier, AllowList(security.allowed_identities, security.relays)


def check_own(security: Security, now: datetime) -> None:
    """Tells when agents will not accept the certificate that they are shown. It may be that theirs is the clock that is
    right, so nothing is refused for it. CertificateError names a file that cannot be used."""
    problem = unfit_for_server(security.tls_cert_path, now)
    if problem is not None:
        path = str(security.tls_cert_path)
        log.error("own_certificate_unfit", tls_cert_path=path, problem=problem, effect="no agent will connect")
