"""Certificates, keys and trust as the core takes them: in DER, read and checked by what reads them everywhere else."""

from __future__ import annotations

from collections import Counter

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from telemetry_collector import _core
from telemetry_collector.config.files import read_certificates, read_private_key
from telemetry_collector.errors import CertificateError
from telemetry_collector.listeners.reset import ResetTokens
from telemetry_collector.listeners.settings import QuicListenerSettings
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.verifier import ClientVerifier


def settings_of(settings: QuicListenerSettings) -> _core.QuicServerSettings:
    """Reads certificate and key: all of it or CertificateError."""
    try:
        certificates = read_certificates(settings.tls_cert_path)
        key = read_private_key(settings.tls_key_path)
        resets = ResetTokens.of_key_file(settings.tls_key_path)
    except OSError as error:
        # It was there a moment ago.
        raise CertificateError(f"Cannot read {error.filename}: {error.strerror}.") from error
    except ValueError as error:
        raise CertificateError(f"{error}.") from error
    if certificates[0].public_key() != key.public_key():
        # One of the two was replaced between their being checked and their being read here.
        raise CertificateError(f"{settings.tls_key_path} is not the key of {settings.tls_cert_path}.")
    deadlines = settings.deadlines
    return _core.QuicServerSettings(
        certificates=[certificate.public_bytes(Encoding.DER) for certificate in certificates],
        key=key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        reset_key=resets.key,
        threads=settings.threads,
        connections_max=settings.connections_max,
        connections_per_identity_max=settings.connections_per_identity_max,
        handshakes_max=settings.handshakes_max,
        handshakes_per_address=settings.handshakes_per_address,
        connections_per_address_per_sec=settings.connections_per_address_per_sec,
        idle_secs=deadlines.idle,
        handshake_secs=deadlines.handshake,
        frame_secs=deadlines.frame,
        replies_secs=deadlines.replies,
        expiry_secs=deadlines.expiry,
    )


def trust_of(verifier: ClientVerifier, allowlist: AllowList) -> _core.QuicTrust:
    """CertificateError when an authority or a revocation list is of a kind that the core cannot use, and when there are
    two lists of one name: the core looks only at the first.
    """
    for authority in verifier.authorities:
        key = authority.public_key()
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP521R1):
            raise CertificateError(
                f"server.transport quinn cannot check signatures on P-521, which the authority "
                f"{authority.subject.rfc4514_string()} makes; expected RSA, P-256 or P-384, or the transport aioquic."
            )
    for name, lists in Counter(crl.issuer for crl in verifier.revocation_lists).items():
        if lists > 1:
            raise CertificateError(
                f"server.transport quinn looks at one revocation list of an authority, and there are {lists} "
                f"revocation lists of {name.rfc4514_string()}; expected one of each name, or the transport aioquic."
            )
    try:
        return _core.QuicTrust(
            authorities=[authority.public_bytes(Encoding.DER) for authority in verifier.authorities],
            revocation_lists=[crl.public_bytes(Encoding.DER) for crl in verifier.revocation_lists],
            allowed=list(allowlist.allowed),
            relays=list(allowlist.relays),
        )
    except _core.CoreError as error:
        raise CertificateError(f"server.transport quinn: {error}.") from error
