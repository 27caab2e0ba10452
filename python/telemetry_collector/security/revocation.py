"""Certificate revocation lists: which certificates of an authority no longer count.

Policy: with lists given, every certificate below the trusted one needs a list of its issuer that is signed by it and
has not run out; without one nothing is known about the certificate and it is refused. A list that ran out therefore
keeps new connections out rather than let in what may have been revoked since; `next_update_unix_secs` tells before.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from telemetry_collector.errors import CertificateError
from telemetry_collector.security.refusal import CertificateRefused, TlsAlert

_PEM = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)


class RevocationLists:
    """Lists of any number of authorities, with their serial numbers ready to be looked up."""

    def __init__(self, lists: Sequence[x509.CertificateRevocationList], source: str = "the revocation list") -> None:
        """CertificateError when a list covers only part of an authority's certificates, which is not supported."""
        self.lists = tuple(lists)
        self._by_issuer: dict[bytes, list[_List]] = {}
        for crl in self.lists:
            _refuse_partial(crl, source)
            self._by_issuer.setdefault(crl.issuer.public_bytes(), []).append(_List(crl))

    @classmethod
    def read(cls, path: Path) -> Self:
        """The lists of a PEM file, at least one. CertificateError names the file."""
        try:
            blocks = _PEM.findall(path.read_bytes())
            lists = [x509.load_pem_x509_crl(block) for block in blocks]
        except OSError as error:
            raise CertificateError(f"Cannot read the revocation list {path}: {error.strerror}.") from error
        except ValueError as error:
            raise CertificateError(f"{path} holds a damaged revocation list: {error}.") from error
        if not lists:
            raise CertificateError(f"{path} holds no revocation list; expected PEM blocks of BEGIN X509 CRL.")
        return cls(lists, str(path))

    @property
    def next_update_unix_secs(self) -> float | None:
        """When the first of the lists runs out; None when none ever does."""
        ends = [entry.end.timestamp() for group in self._by_issuer.values() for entry in group if entry.end is not None]
        return min(ends, default=None)

    def covers(self, authority: x509.Certificate) -> bool:
        """Whether there is a list of this authority."""
        return any(entry.signed_by(authority) for entry in self._of(authority))

    def check(self, chain: Sequence[x509.Certificate], now: datetime) -> None:
        """Raises CertificateRefused when a certificate of the chain, but for the trusted one at its end, is revoked."""
        for certificate, issuer in pairwise(chain):
            lists = [entry for entry in self._of(issuer) if entry.signed_by(issuer)]
            name = issuer.subject.rfc4514_string()
            if not lists:
                raise CertificateRefused(TlsAlert.CERTIFICATE_UNKNOWN, f"no revocation list of {name}")
            if any(certificate.serial_number in entry.serials for entry in lists):
                raise CertificateRefused(TlsAlert.CERTIFICATE_REVOKED, f"revoked by {name}")
            if not any(entry.end is None or now < entry.end for entry in lists):
                raise CertificateRefused(TlsAlert.CERTIFICATE_UNKNOWN, f"the revocation list of {name} has run out")

    def _of(self, issuer: x509.Certificate) -> "list[_List]":
        return self._by_issuer.get(issuer.subject.public_bytes(), [])


class _List:
    def __init__(self, crl: x509.CertificateRevocationList) -> None:
        self._crl = crl
        self._signers: dict[x509.Certificate, bool] = {}
        self.end = crl.next_update_utc
        self.serials = frozenset(entry.serial_number for entry in crl)

    def signed_by(self, issuer: x509.Certificate) -> bool:
        # Remembered: issuers are trusted certificates or were verified under one, so there are few.
        known = self._signers.get(issuer)
        if known is None:
            try:
                known = self._crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
            except (TypeError, ValueError, UnsupportedAlgorithm):
                known = False
            if len(self._signers) < _SIGNERS_MAX:
                self._signers[issuer] = known
        return known


_SIGNERS_MAX = 64
"""Issuers whose signature on a list is remembered; beyond them it is checked each time."""


def _refuse_partial(crl: x509.CertificateRevocationList, source: str) -> None:
    # RFC 5280: a list with a critical extension that is not understood (a delta, a part of the certificates, entries
    # of other issuers) does not say who is not revoked.
    for extension in crl.extensions:
        if extension.critical:
            raise CertificateError(
                f"{source}: the list of {crl.issuer.rfc4514_string()} has the critical extension "
                f"{extension.oid.dotted_string}; expected a complete list without critical extensions."
            )


def utc(unix_secs: float) -> datetime:
    """A moment as the certificates' dates are given."""
    return datetime.fromtimestamp(unix_secs, UTC)
