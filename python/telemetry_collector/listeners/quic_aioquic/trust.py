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


class Slots:
    """Permits for connections: so many are out at a time."""

    def __init__(self, slots_max: int) -> None:
        self.slots_max = slots_max
        self.taken = 0

    def take(self) -> bool:
        """Whether there was one left."""
        if self.taken >= self.slots_max:
            return False
        self.taken += 1
        return True

    def give_back(self) -> None:
        """The holder is gone."""
        self.taken -= 1
