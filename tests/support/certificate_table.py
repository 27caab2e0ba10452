"""Certificates that no listener lets in, and the TLS alert that each is refused with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.support.certificates import CLIENT, DAY, SERVER, Authority, Credentials
from tests.support.quic_pair import NODE_URI

from telemetry_collector.security.revocation import RevocationLists
from telemetry_collector.security.verifier import CHAIN_CERTIFICATES_MAX


@dataclass(frozen=True)
class Row:
    """What a peer shows, and the alert that it gets."""

    case: str
    alert: int
    name: str
    shows: Callable[[Authority], Credentials | None]
    lists: Callable[[Authority, Credentials | None], list[x509.CertificateRevocationList]] | None = None

    def revocations(self, authority: Authority, credentials: Credentials | None) -> RevocationLists | None:
        """What the listener is told; None where nothing is ever revoked."""
        return RevocationLists(self.lists(authority, credentials)) if self.lists is not None else None

    def __str__(self) -> str:
        return self.case


class _Damaged:
    """Takes the place of a certificate, and is none on the wire."""

    def public_bytes(self, encoding: serialization.Encoding) -> bytes:
        """See Certificate."""
        del encoding
        return b"\x30\x03\x02\x01\x01"


def _good(authority: Authority) -> Credentials:
    return authority.issue(uri=NODE_URI)


def _damaged(authority: Authority) -> Credentials:
    return Credentials(_Damaged(), _good(authority).key)  # type: ignore[arg-type]


def _by_sha_224(authority: Authority) -> Credentials:
    good = _good(authority)
    builder = x509.CertificateBuilder(
        good.certificate.issuer,
        good.certificate.subject,
        good.certificate.public_key(),
        good.certificate.serial_number,
        good.certificate.not_valid_before_utc.replace(tzinfo=None),
        good.certificate.not_valid_after_utc.replace(tzinfo=None),
        list(good.certificate.extensions),
    )
    assert isinstance(authority.key, ec.EllipticCurvePrivateKey)
    return Credentials(builder.sign(authority.key, hashes.SHA224()), good.key)


def _below(signer: Authority, *more: x509.Certificate) -> Credentials:
    made = signer.issue(uri=NODE_URI, not_before=signer.now, not_after=signer.now + 1_000 * DAY)
    return Credentials(made.certificate, made.key, (*made.intermediates, *more))


def _authority_itself(authority: Authority) -> Credentials:
    return Credentials(authority.certificate, authority.key)


def _padded(authority: Authority) -> Credentials:
    good = _good(authority)
    return Credentials(good.certificate, good.key, (authority.certificate,) * CHAIN_CERTIFICATES_MAX)


ROWS = (
    Row("none", 116, "certificate_required", lambda _: None),
    Row("unknown authority", 48, "unknown_ca", lambda _: _good(Authority("Another CA"))),
    Row("authority of the same name", 48, "unknown_ca", lambda _: _good(Authority("Test CA"))),
    Row(
        "intermediate missing",
        48,
        "unknown_ca",
        lambda authority: Credentials((made := _below(Authority("Middle", parent=authority))).certificate, made.key),
    ),
    Row(
        "signed by what is no authority",
        48,
        "unknown_ca",
        lambda authority: _below(Authority("Middle", parent=authority, is_authority=False)),
    ),
    Row("signed in a way that is not taken", 48, "unknown_ca", _by_sha_224),
    Row(
        "expired",
        45,
        "certificate_expired",
        lambda authority: authority.issue(uri=NODE_URI, not_after=authority.now - timedelta(seconds=1)),
    ),
    Row(
        "not valid yet",
        45,
        "certificate_expired",
        lambda authority: authority.issue(uri=NODE_URI, not_before=authority.now + DAY),
    ),
    Row(
        "expired intermediate",
        45,
        "certificate_expired",
        lambda authority: _below(Authority("Middle", parent=authority, now=authority.now - 400 * DAY)),
    ),
    Row(
        "revoked",
        44,
        "certificate_revoked",
        _good,
        lambda authority, shown: [authority.revocations(*([shown.certificate] if shown else []))],
    ),
    Row(
        "server usage only",
        43,
        "unsupported_certificate",
        lambda authority: authority.issue(uri=NODE_URI, usages=SERVER),
    ),
    Row("no usage", 43, "unsupported_certificate", lambda authority: authority.issue(uri=NODE_URI, usages=None)),
    Row(
        "critical and unknown",
        43,
        "unsupported_certificate",
        lambda authority: authority.issue(uri=NODE_URI, critical=True),
    ),
    Row("authority itself", 43, "unsupported_certificate", _authority_itself),
    Row(
        "weak key",
        42,
        "bad_certificate",
        lambda authority: authority.issue(uri=NODE_URI, usages=CLIENT, key=rsa.generate_private_key(65_537, 1_024)),
    ),
    Row("damaged", 42, "bad_certificate", _damaged),
    Row("too many", 42, "bad_certificate", _padded),
    Row(
        "no list of its authority",
        46,
        "certificate_unknown",
        _good,
        lambda _authority, _shown: [Authority("Another CA").revocations()],
    ),
    Row(
        "list that another signed",
        46,
        "certificate_unknown",
        _good,
        lambda authority, _shown: [authority.revocations(signed_by=Authority("Another CA"))],
    ),
    Row(
        "list that ran out",
        46,
        "certificate_unknown",
        _good,
        lambda authority, _shown: [authority.revocations(ends=authority.now - timedelta(seconds=1))],
    ),
)
