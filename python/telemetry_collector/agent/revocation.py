"""Whether a collector's certificate has been revoked, where the agent was given a list."""

from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from telemetry_collector.clock import Clock
from telemetry_collector.config.files import read_certificates
from telemetry_collector.errors import CertificateError
from telemetry_collector.security.refusal import CertificateRefused
from telemetry_collector.security.revocation import RevocationLists, utc

CHAIN_CERTIFICATES_MAX = 8


def judge_of(
    ca_path: Path, crl_path: Path, clock: Clock
) -> Callable[[x509.Certificate, Sequence[x509.Certificate]], None]:
    """What refuses collectors whose certificate, or an intermediate's, is revoked or on no list that counts.

    Both files are read anew for each collector, so a renewed list counts from the next connection on. Raises
    CertificateError at once when one of them cannot be used.
    """

    def judge(certificate: x509.Certificate, intermediates: Sequence[x509.Certificate]) -> None:
        lists = RevocationLists.read(crl_path)
        chain = _chain(certificate, intermediates, _authorities(ca_path))
        try:
            lists.check(chain, utc(clock.unix_secs()))
        except CertificateRefused as refused:
            raise CertificateError(f"the collector's certificate is refused: {refused}") from refused

    RevocationLists.read(crl_path)
    _authorities(ca_path)
    return judge


def _authorities(ca_path: Path) -> list[x509.Certificate]:
    try:
        return read_certificates(ca_path)
    except ValueError as error:
        raise CertificateError(f"{error}.") from error


def _chain(
    certificate: x509.Certificate, intermediates: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate]
) -> list[x509.Certificate]:
    """From the certificate to an authority; that there is one was verified in the handshake."""
    chain = [certificate]
    while chain[-1] not in authorities:
        issuer = next((each for each in (*authorities, *intermediates) if _issued(each, chain[-1])), None)
        if issuer is None or len(chain) >= CHAIN_CERTIFICATES_MAX:
            raise CertificateError("the collector's certificate comes from no authority that we know")
        chain.append(issuer)
    return chain


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
