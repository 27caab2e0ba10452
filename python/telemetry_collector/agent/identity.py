"""Whose metrics these are: the node of the agent's own certificate, unless the configuration names another."""

from pathlib import Path

from telemetry_collector.config.files import read_certificates
from telemetry_collector.errors import CertificateError
from telemetry_collector.security.identity import Identity


def identity_of(cert_path: Path) -> Identity:
    """Whom a certificate names. CertificateError when it cannot be read or names nobody."""
    try:
        certificate = read_certificates(cert_path)[0]
    except ValueError as error:
        raise CertificateError(f"{error}.") from error
    identity = Identity.of(certificate)
    if identity is None:
        raise CertificateError(
            f"{cert_path} names no node; expected a URI or DNS name among its alternative names, or a common name."
        )
    return identity
