"""Whom a listener lets in: one object that is replaced whole when certificates or the allow-list change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509

from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.verifier import ClientVerifier


@dataclass(frozen=True, slots=True)
class Trust:
    """A verifier of certificates and the identities that are allowed."""

    verifier: ClientVerifier
    allowlist: AllowList


class CurrentTrust:
    """What holds now; connections ask it again whenever it may have changed."""

    def __init__(self, trust: Trust) -> None:
        self.trust = trust

    def verify(self, certificate: x509.Certificate, intermediates: Sequence[x509.Certificate]) -> None:
        """See ClientVerifier."""
        self.trust.verifier.verify(certificate, intermediates)
