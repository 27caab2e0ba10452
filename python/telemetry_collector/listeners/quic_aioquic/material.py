"""What the transport is made from: certificate, key, the contract's windows."""

from __future__ import annotations

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicProtocolVersion

from telemetry_collector.errors import CertificateError
from telemetry_collector.listeners.quic_aioquic.transport import CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES
from telemetry_collector.listeners.reset import ResetTokens
from telemetry_collector.listeners.settings import QuicListenerSettings
from telemetry_collector.model import ALPN

CONNECTION_ID_BYTES = 8
"""Length of our connection ids, and the least that a client's first choice may have."""

VERSIONS = (QuicProtocolVersion.VERSION_1,)

# The contract's timeout, TIMED_OUT, is to come before the transport's, which says nothing.
_IDLE_MARGIN_SECS = 10.0


def identity_of(settings: QuicListenerSettings) -> tuple[QuicConfiguration, ResetTokens]:
    """What is made from certificate and key: all of it or CertificateError."""
    configuration = _configuration(settings)
    try:
        return configuration, ResetTokens.of_key_file(settings.tls_key_path)
    except OSError as error:
        # It was there a moment ago.
        raise CertificateError(f"Cannot read {error.filename}: {error.strerror}.") from error


def _configuration(settings: QuicListenerSettings) -> QuicConfiguration:
    configuration = QuicConfiguration(
        alpn_protocols=[ALPN],
        connection_id_length=CONNECTION_ID_BYTES,
        idle_timeout=settings.deadlines.idle + _IDLE_MARGIN_SECS,
        is_client=False,
        max_data=CONNECTION_WINDOW_BYTES,
        max_stream_data=STREAM_WINDOW_BYTES,
        supported_versions=list(VERSIONS),
    )
    try:
        configuration.load_cert_chain(settings.tls_cert_path, settings.tls_key_path)
    except OSError as error:
        raise CertificateError(f"Cannot read {error.filename}: {error.strerror}.") from error
    except (ValueError, TypeError, IndexError) as error:
        raise CertificateError(
            f"{settings.tls_cert_path} and {settings.tls_key_path} are no certificate with its unencrypted key, "
            "both as PEM."
        ) from error
    certificate, key = configuration.certificate, configuration.private_key
    if certificate is None or key is None or certificate.public_key() != key.public_key():
        # One of the two was replaced between their being checked and their being read here.
        raise CertificateError(f"{settings.tls_key_path} is not the key of {settings.tls_cert_path}.")
    return configuration
