"""Making certificates and revocation lists: what stands in them, without files and clocks.

The extensions are those that OpenSSL, rustls and cryptography's verifier all ask for: rustls takes a revocation list
only with its number and its authority's key identifier. CertificateError tells the user which name cannot be used.
"""

import ipaddress
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from telemetry_collector.errors import CertificateError

AUTHORITY_DAYS = 3_650

Kind = Literal["server", "node"]
"""A server's certificate is shown by collectors, a node's by agents; neither can stand in for the other."""

_BACKDATED = timedelta(minutes=5)  # clocks differ; a certificate must be good on a machine that is slow
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7e]+")


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key on the curve P-256, which every TLS library knows."""
    return ec.generate_private_key(ec.SECP256R1())


def new_authority(now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """An authority's certificate, signed by itself, and its key."""
    key = new_key()
    # Two authorities of the same name would be mistaken for each other wherever both are trusted.
    name = _common_name(f"Telemetry development CA {secrets.token_hex(4)}")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def signed(
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePublicKey,
    name: str,
    kind: Kind,
    names: Sequence[x509.GeneralName],
    now: datetime,
    days: int,
) -> x509.Certificate:
    """A certificate for `key` with `name` as its common name and `names` as its alternative names.

    It ends after so many days, or with its authority.
    """
    usage = ExtendedKeyUsageOID.SERVER_AUTH if kind == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
    return (
        x509.CertificateBuilder()
        .subject_name(_common_name(name))
        .issuer_name(authority.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(min(now + timedelta(days=days), authority.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_issuer_identifier(authority), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def revocation_list(
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    number: int,
    revoked: Mapping[int, datetime],
    now: datetime,
) -> x509.CertificateRevocationList:
    """The list of all serials revoked, with their dates.

    It is good for as long as its authority: nobody signs it anew in the background, and one that ran out would lock
    every node out.
    """
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(now - _BACKDATED)
        .next_update(authority.not_valid_after_utc)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_issuer_identifier(authority), critical=False)
    )
    for serial, date in revoked.items():
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(date).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(authority_key, hashes.SHA256())


def host_name(text: str) -> x509.GeneralName:
    """An IP address, or a host's name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return dns_name(text)


def dns_name(text: str) -> x509.DNSName:
    """A host's name."""
    if len(text) > 253 or not _DNS_NAME.fullmatch(text):
        raise CertificateError(f"{text!r} is no host name; expected one such as collector.example.org")
    return x509.DNSName(text)


def uri_name(text: str) -> x509.UniformResourceIdentifier:
    """A URI."""
    if not _URI.fullmatch(text):
        raise CertificateError(f"{text!r} is no URI; expected one such as spiffe://telemetry/node/gpu-07")
    return x509.UniformResourceIdentifier(text)


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """A certificate as a PEM block."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def private_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A key as an unencrypted PEM block."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _issuer_identifier(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
