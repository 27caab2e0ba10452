"""Who sends requests: a client that proved a certificate, or somebody on this machine."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography import x509

from telemetry_collector.clock import Clock, SystemClock
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.identity import Identity
from telemetry_collector.security.refusal import CertificateRefused
from telemetry_collector.security.verifier import ClientVerifier

CERTIFICATES_KNOWN_MAX = 4_096
"""Certificates whose verdict is remembered, so that a request on an open connection costs no verification; beyond that
all are judged anew."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Whose points a request brings."""

    identity: str
    """Whose quota they count against."""
    node: str
    """What `node_id` of points without one becomes."""
    relay: bool
    """Its points may be of any node."""


class PeerDenied(Exception):
    """The client may not send; the message is for it."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A certificate that was judged."""

    peer: Peer
    until_unix_secs: float
    """When it is to be judged anew: it or the revocation list has run out then."""


class Trust:
    """Whom the receivers let in, replaced as a whole when files or configuration change."""

    def __init__(self, verifier: ClientVerifier, allowlist: AllowList, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._known: dict[bytes, _Known] = {}
        self.update(verifier, allowlist)

    def update(self, verifier: ClientVerifier, allowlist: AllowList) -> None:
        """Judges by these from the next request on, also on connections that are open."""
        self._verifier = verifier
        self._allowlist = allowlist
        self._known.clear()

    def peer_of(self, shown: bytes, intermediates: Sequence[bytes] = ()) -> Peer:
        """The client of a certificate, in DER or PEM as what it sent behind it. PeerDenied says why it may not send."""
        known = self._known.get(shown)
        if known is None or self._clock.unix_secs() >= known.until_unix_secs:
            known = self._judged(shown, intermediates)
            if len(self._known) >= CERTIFICATES_KNOWN_MAX:
                self._known.clear()
            self._known[shown] = known
        return known.peer

    def _judged(self, shown: bytes, intermediates: Sequence[bytes]) -> _Known:
        try:
            certificate = _loaded(shown)
            self._verifier.verify(certificate, [_loaded(one) for one in intermediates])
            identity = Identity.of(certificate)
        except ValueError as error:
            raise PeerDenied(f"the certificate is damaged: {error}") from error
        except CertificateRefused as error:
            raise PeerDenied(f"the certificate is refused: {error}") from error
        if identity is None:
            raise PeerDenied("the certificate has no identity; expected a URI, a DNS name or a common name")
        if not self._allowlist.allows(identity.name):
            raise PeerDenied(f"{identity.name} is not in security.allowed_identities")
        peer = Peer(identity.name, identity.node, self._allowlist.is_relay(identity.name))
        lists_end = self._verifier.revocations_end_unix_secs
        ends = certificate.not_valid_after_utc.timestamp()
        return _Known(peer, ends if lists_end is None else min(ends, lists_end))


def _loaded(shown: bytes) -> x509.Certificate:
    load = x509.load_pem_x509_certificate if shown.startswith(b"-----") else x509.load_der_x509_certificate
    return load(shown)


def anonymous(receiver: str) -> Peer:
    """A client that showed no certificate, where none is asked for: all of a receiver's share one quota, and speak for
    whichever node they name."""
    return Peer(identity=receiver, node=socket.gethostname(), relay=True)


def server_context(
    security: Literal["mutual", "server"], certificate: Path, key: Path, authorities: Path
) -> ssl.SSLContext:
    """TLS as a server, 1.2 and later. Chains are OpenSSL's to build; what else a certificate must be is `Trust`'s.

    ssl.SSLError or OSError when a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if security == "mutual":
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authorities)
        # An authority that is trusted need not be a root.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    # A session that is resumed shows no certificate again.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    return context
