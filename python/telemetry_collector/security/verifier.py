"""Whether a client's certificate is good: authority, dates, usage, strength, revocation.

cryptography's verifier builds the chain. It has one error for everything that can be wrong, so what TLS has an alert of
its own for is checked apart, before (dates, usage) and after (revocation, what kept the chain from being built); what
is left is an unknown authority. `rust/core/src/quic/server/trust` refuses with the same alerts for the listener on
quinn. The verifier's profile for the public web is loosened where private authorities differ: names may stand in the CN
alone, and key identifiers and the authority's key usage may be absent. An authority must say that it is one, and have
an RSA or NIST key.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from telemetry_collector.clock import Clock, SystemClock
from telemetry_collector.config.files import read_certificates
from telemetry_collector.errors import CertificateError
from telemetry_collector.security.refusal import CertificateRefused, TlsAlert
from telemetry_collector.security.revocation import RevocationLists, utc

CHAIN_CERTIFICATES_MAX = 8
"""Certificates that a client may send; more are refused before any is looked at."""

RSA_BITS_MIN = 2_048
ISSUER_CHARS_MAX = 200
"""So much of what a stranger calls its authority is told."""


class ClientVerifier:
    """Judges client certificates against authorities and revocation lists read once. Safe to use from any thread."""

    def __init__(
        self,
        authorities: Sequence[x509.Certificate],
        revocations: RevocationLists | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        """`authorities` may be roots or intermediates. CertificateError when one could never be trusted."""
        for authority in authorities:
            _require_usable(authority)
        self.authorities = tuple(authorities)
        """Whose certificates are good."""
        self._store = Store(list(authorities))
        self._clock = clock or SystemClock()
        self._revocations = revocations
        self.uncovered = tuple(
            authority.subject.rfc4514_string()
            for authority in authorities
            if revocations is not None and not revocations.covers(authority)
        )
        """Authorities whose certificates are all refused, because the lists given have none of theirs."""

    @classmethod
    def read(cls, ca_path: Path, crl_path: Path | None = None, *, clock: Clock | None = None) -> Self:
        """From PEM files. CertificateError names the file and what would be right."""
        try:
            authorities = read_certificates(ca_path)
        except ValueError as error:
            raise CertificateError(f"{error}.") from error
        return cls(authorities, RevocationLists.read(crl_path) if crl_path else None, clock=clock)

    @property
    def revocations_end_unix_secs(self) -> float | None:
        """When the first revocation list runs out and its authority's certificates are refused; None for never."""
        return self._revocations.next_update_unix_secs if self._revocations else None

    @property
    def revocation_lists(self) -> tuple[x509.CertificateRevocationList, ...]:
        """The lists that certificates are looked up in; none when there is no revocation."""
        return self._revocations.lists if self._revocations else ()

    def verify(self, certificate: x509.Certificate, intermediates: Sequence[x509.Certificate]) -> None:
        """Returns when the client's certificate is good, raises CertificateRefused with the TLS alert when not."""
        now = utc(self._clock.unix_secs())
        if len(intermediates) >= CHAIN_CERTIFICATES_MAX:
            raise CertificateRefused(TlsAlert.BAD_CERTIFICATE, f"more than {CHAIN_CERTIFICATES_MAX} certificates")
        _check_dates(certificate, now)
        _check_usage(certificate)
        builder = PolicyBuilder().store(self._store).time(now).max_chain_depth(CHAIN_CERTIFICATES_MAX)
        verifier = builder.extension_policies(ca_policy=_CA_POLICY, ee_policy=_CLIENT_POLICY).build_client_verifier()
        try:
            chain = verifier.verify(certificate, list(intermediates)).chain
        except VerificationError as error:
            for intermediate in intermediates:
                _check_dates(intermediate, now)
            _check_kind(certificate)
            problem = f"its issuer, {_issuer(certificate)}, leads to no authority that is trusted: {error}"
            raise CertificateRefused(TlsAlert.UNKNOWN_CA, problem) from error
        if self._revocations is not None:
            self._revocations.check(chain, now)


def _check_dates(certificate: x509.Certificate, now: datetime) -> None:
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise CertificateRefused(
            TlsAlert.CERTIFICATE_EXPIRED,
            f"valid from {certificate.not_valid_before_utc:%FT%TZ} to {certificate.not_valid_after_utc:%FT%TZ}",
        )


def _check_usage(certificate: x509.Certificate) -> None:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
            raise CertificateRefused(TlsAlert.UNSUPPORTED_CERTIFICATE, "its extended key usage lacks clientAuth")
        key = certificate.public_key()
    except x509.ExtensionNotFound as error:
        problem = "no extended key usage; expected clientAuth"
        raise CertificateRefused(TlsAlert.UNSUPPORTED_CERTIFICATE, problem) from error
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, UnsupportedAlgorithm) as error:
        raise CertificateRefused(TlsAlert.BAD_CERTIFICATE, f"damaged: {error}") from error
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_BITS_MIN:
        raise CertificateRefused(TlsAlert.BAD_CERTIFICATE, f"an RSA key of {key.key_size} bits, below {RSA_BITS_MIN}")


def _check_kind(certificate: x509.Certificate) -> None:
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.BasicConstraints) and extension.value.ca:
            raise CertificateRefused(TlsAlert.UNSUPPORTED_CERTIFICATE, "it is an authority's")
        if extension.critical and isinstance(extension.value, x509.UnrecognizedExtension):
            problem = f"the extension {extension.oid.dotted_string} is critical and unknown"
            raise CertificateRefused(TlsAlert.UNSUPPORTED_CERTIFICATE, problem)


def _issuer(certificate: x509.Certificate) -> str:
    try:
        return repr(certificate.issuer.rfc4514_string()[:ISSUER_CHARS_MAX])
    except ValueError:  # a name that is no name, in a stranger's certificate
        return "unreadable"


def _require_usable(authority: x509.Certificate) -> None:
    key = authority.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_BITS_MIN:
        return
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1):
        return
    raise CertificateError(
        f"The authority {authority.subject.rfc4514_string()} has a key that is not supported; "
        f"expected RSA of at least {RSA_BITS_MIN} bits, or ECDSA on P-256, P-384 or P-521."
    )


def _is_authority(_policy: Policy, _certificate: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError("it is no authority")


def _may_sign(_policy: Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("its key may not sign certificates")


_ANY = Criticality.AGNOSTIC
_CA_POLICY = (
    ExtensionPolicy.webpki_defaults_ca()
    .require_present(x509.BasicConstraints, _ANY, _is_authority)
    .may_be_present(x509.KeyUsage, _ANY, _may_sign)
    .may_be_present(x509.AuthorityKeyIdentifier, _ANY, None)
    .may_be_present(x509.SubjectKeyIdentifier, _ANY, None)
)
_CLIENT_POLICY = (
    ExtensionPolicy.webpki_defaults_ee()
    .may_be_present(x509.SubjectAlternativeName, _ANY, None)
    .may_be_present(x509.AuthorityKeyIdentifier, _ANY, None)
)
