"""What clients over aioquic share: a socket that is connected, and a certificate of their own."""

import asyncio
from pathlib import Path

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration

from telemetry_collector.errors import CertificateError


class ConnectedProtocol(QuicConnectionProtocol):
    """aioquic's own, but that it sends without an address, which a connected socket has already."""

    def _send_due(self, transport: asyncio.DatagramTransport) -> None:
        """Sends what is due and sets the timer for the rest."""
        for data, _ in self._quic.datagrams_to_send(now=self._loop.time()):
            transport.sendto(data)
        timer_at = self._quic.get_timer()
        if self._timer is not None and self._timer_at != timer_at:
            self._timer.cancel()
            self._timer = None
        if self._timer is None and timer_at is not None:
            self._timer = self._loop.call_at(timer_at, self._handle_timer)
        self._timer_at = timer_at


def load_own(configuration: QuicConfiguration, cert_path: Path, key_path: Path) -> None:
    """Reads the certificate to show. CertificateError names the files."""
    try:
        configuration.load_cert_chain(cert_path, key_path)
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise CertificateError(f"cannot use the certificate {cert_path} with the key {key_path}: {error}") from error
    if configuration.private_key is None:
        raise CertificateError(f"{key_path} holds no private key")
