"""What a certificate says, in the words that the collector uses: identity, node, whether it would be let in."""

from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from telemetry_collector.config.files import read_certificates
from telemetry_collector.errors import CertificateError
from telemetry_collector.security.identity import Identity

_USAGES = {ExtendedKeyUsageOID.SERVER_AUTH: "server", ExtendedKeyUsageOID.CLIENT_AUTH: "client"}


@dataclass(frozen=True, slots=True)
class Description:
    """One certificate of a file."""

    file: str
    subject: str
    usage: str
    """`server`, `client`, both with a comma between, `authority`, or `other`."""
    identity: str | None
    """Who the collector takes its bearer for; None when it would not be let in: no client, or no name."""
    node: str | None
    """The node that the bearer may speak for."""
    hosts: tuple[str, ...]
    """Names and addresses that a server with it may be reached under."""
    serial: str
    not_before: str
    not_after: str
    status: str
    """`valid`, `expired`, `not yet valid` or `revoked`."""


def describe(path: Path, now: datetime, revoked: Container[int] = ()) -> list[Description]:
    """Every certificate of a PEM file; `revoked` has the serials of the list to judge by. CertificateError names it."""
    try:
        certificates = read_certificates(path)
    except ValueError as error:
        raise CertificateError(str(error)) from error
    return [_describe(path, certificate, now, revoked) for certificate in certificates]


def unfit_for_server(path: Path, now: datetime) -> str | None:
    """Why no agent will accept a collector that shows this file's first certificate; None when nothing speaks against
    it. CertificateError names a file that cannot be used."""
    certificate, *_ = describe(path, now)
    unfit = None if certificate.hosts else "names no host that the collector is reached under"
    if certificate.usage in ("client", "authority"):
        unfit = f"is made for: {certificate.usage}; expected server"
    return _out_of_time(certificate) or unfit


def unfit_for_agent(path: Path, now: datetime) -> str | None:
    """Why no collector will let an agent in that shows this file's first certificate; None when nothing speaks against
    it. CertificateError names a file that cannot be used."""
    certificate, *_ = describe(path, now)
    unfit = None if certificate.identity else "names no node"
    if "client" not in certificate.usage:
        unfit = f"is made for: {certificate.usage}; expected client"
    return _out_of_time(certificate) or unfit


def _out_of_time(certificate: Description) -> str | None:
    if certificate.status == "expired":
        return f"expired at {certificate.not_after}"
    return f"not valid before {certificate.not_before}" if certificate.status == "not yet valid" else None


def revoked_serials(path: Path) -> frozenset[int]:
    """The serials on a revocation list. CertificateError names the file."""
    try:
        return frozenset(entry.serial_number for entry in x509.load_pem_x509_crl(path.read_bytes()))
    except OSError as error:
        raise CertificateError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:
        raise CertificateError(f"{path} holds no revocation list; expected a PEM block BEGIN X509 CRL") from error


def _describe(path: Path, certificate: x509.Certificate, now: datetime, revoked: Container[int]) -> Description:
    usage = _usage(certificate)
    identity = Identity.of(certificate) if "client" in usage else None
    return Description(
        file=str(path),
        subject=certificate.subject.rfc4514_string(),
        usage=usage,
        identity=identity.name if identity else None,
        node=identity.node if identity else None,
        hosts=_hosts(certificate),
        serial=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before_utc.isoformat(),
        not_after=certificate.not_valid_after_utc.isoformat(),
        status=_status(certificate, now, revoked),
    )


def _status(certificate: x509.Certificate, now: datetime, revoked: Container[int]) -> str:
    if certificate.serial_number in revoked:
        return "revoked"
    if now > certificate.not_valid_after_utc:
        return "expired"
    return "not yet valid" if now < certificate.not_valid_before_utc else "valid"


def _usage(certificate: x509.Certificate) -> str:
    try:
        if certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return "authority"
    except x509.ExtensionNotFound:
        pass
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return "other"
    return ", ".join(word for usage, word in _USAGES.items() if usage in usages) or "other"


def _hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    hosts = names.get_values_for_type(x509.DNSName)
    return (*hosts, *(str(address) for address in names.get_values_for_type(x509.IPAddress)))
