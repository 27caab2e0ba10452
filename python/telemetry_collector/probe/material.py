"""The node's certificate and whom it trusts, for both ends of a probe."""

from dataclasses import dataclass
from pathlib import Path
from ssl import CERT_NONE

from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE, QuicConfiguration
from aioquic.quic.packet import QuicProtocolVersion

from telemetry_collector.clock import Clock
from telemetry_collector.security.verifier import ClientVerifier
from telemetry_collector.sender.connected import load_own

ALPN = "telemetry-probe/1"

IDLE_SECS = 10.0
"""A connection without a datagram for so long is forgotten. A burst takes less."""

PROBE_BYTES = 64
"""Of one probe: its number, and zeros up to what a small request takes."""

FRAME_BYTES_MAX = 256
"""A larger datagram frame closes the connection."""

WINDOW_BYTES = 1_024
"""There are no streams; the least that a peer may be told."""


@dataclass(frozen=True, slots=True)
class Material:
    """Where the files are. They are read whenever they are asked for, so that renewed ones count."""

    cert_path: Path
    key_path: Path
    ca_path: Path
    crl_path: Path | None
    clock: Clock

    def verifier(self) -> ClientVerifier:
        """Whom both ends trust: nodes. Raises CertificateError that names the file."""
        return ClientVerifier.read(self.ca_path, self.crl_path, clock=self.clock)

    def configuration(self, *, is_client: bool) -> QuicConfiguration:
        """What aioquic needs to know. Raises CertificateError that names the file.

        aioquic is not to verify servers: it would look for the name that the peer is reached under, which a node's
        certificate does not have. Whoever probes asks the verifier itself, before it sends anything.
        """
        configuration = QuicConfiguration(
            is_client=is_client,
            alpn_protocols=[ALPN],
            idle_timeout=IDLE_SECS,
            max_data=WINDOW_BYTES,
            max_stream_data=WINDOW_BYTES,
            max_datagram_size=SMALLEST_MAX_DATAGRAM_SIZE,
            max_datagram_frame_size=FRAME_BYTES_MAX,
            supported_versions=[QuicProtocolVersion.VERSION_1],
            verify_mode=CERT_NONE,
        )
        load_own(configuration, self.cert_path, self.key_path)
        return configuration
