"""Certificates of every kind that a listener may be shown, made in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Credentials:
    """A certificate with its key, and the intermediates to show after it."""

    certificate: x509.Certificate
    key: Key
    intermediates: tuple[x509.Certificate, ...] = ()

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """As two PEM files: certificate and key."""
        certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
        certificate.write_bytes(pem(self.certificate, *self.intermediates))
        key.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, key


def pem(*certificates: x509.Certificate) -> bytes:
    """Certificates as the content of one file."""
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def common_names(*names: str) -> x509.Name:
    """A subject with these CNs, in this order."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])


class Authority:
    """A certificate authority: a root, or an intermediate of another authority."""

    def __init__(
        self,
        name: str = "Test CA",
        *,
        parent: Authority | None = None,
        is_authority: bool = True,
        key: Key | None = None,
        now: datetime | None = None,
    ) -> None:
        self.now = now or datetime.now(UTC)
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.parent = parent
        builder = _builder(common_names(name), parent.certificate.subject if parent else common_names(name))
        builder = (
            builder.public_key(self.key.public_key())
            .not_valid_before(self.now - DAY)
            .not_valid_after(self.now + 365 * DAY)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
        )
        self.certificate: x509.Certificate = _sign(builder, parent.key if parent else self.key)

    def issue(
        self,
        *,
        uri: str | None = None,
        dns: str | None = None,
        names: Sequence[str] = (),
        usages: Sequence[x509.ObjectIdentifier] | None = CLIENT,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        key: Key | None = None,
        critical: bool = False,
    ) -> Credentials:
        """Credentials with the alternative names and CNs given; `critical` adds an extension that nobody knows."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(common_names(*names), self.certificate.subject)
            .public_key(key.public_key())
            .not_valid_before(not_before or self.now - DAY)
            .not_valid_after(not_after or self.now + 30 * DAY)
        )
        alternative: list[x509.GeneralName] = []
        if dns is not None:
            alternative.append(x509.DNSName(dns))
        if uri is not None:
            alternative.append(x509.UniformResourceIdentifier(uri))
        if alternative:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=not names)
        if usages is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if critical:
            unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
            builder = builder.add_extension(unknown, critical=True)
        chain = (self.certificate,) if self.parent else ()
        return Credentials(_sign(builder, self.key), key, chain)

    def revocations(
        self,
        *revoked: x509.Certificate,
        ends: datetime | None = None,
        signed_by: Authority | None = None,
        partial: bool = False,
    ) -> x509.CertificateRevocationList:
        """A list of these certificates, signed by this authority's key unless told otherwise."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(self.now - DAY)
            .next_update(ends or self.now + 30 * DAY)
            .add_extension(x509.CRLNumber(1), critical=False)
        )
        if partial:
            builder = builder.add_extension(x509.DeltaCRLIndicator(1), critical=True)
        for certificate in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(certificate.serial_number)
                .revocation_date(self.now - DAY)
                .build()
            )
        signer = (signed_by or self).key
        assert not isinstance(signer, ed25519.Ed25519PrivateKey)
        return builder.sign(signer, hashes.SHA256())


def _builder(subject: x509.Name, issuer: x509.Name) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    return builder.serial_number(x509.random_serial_number())


def _sign(builder: x509.CertificateBuilder, key: Key) -> x509.Certificate:
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
