"""Mutual TLS for the server side of aioquic, which has none of its own.

aioquic can ask a client for its certificate and check that the client has the key, behind a private flag; who signed
the certificate, its dates, its usage and even its absence are of no interest to it. The subclasses below refuse what is
not verified before the client's Finished is read. Only Finished installs the keys that application data needs, so not a
byte of a batch is read from a peer that was not verified. Neither tickets nor 0-RTT exist: no handler for them is ever
passed on, so each connection proves its certificate.

All of this rests on private parts of aioquic, hence the exact pin; the tests' table of certificates is the alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aioquic import tls
from aioquic._buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from cryptography import x509

from telemetry_collector.security.refusal import CertificateRefused, TlsAlert

Verify = Callable[[x509.Certificate, Sequence[x509.Certificate]], None]
"""Raises CertificateRefused for a certificate, given with the intermediates that came along, that is not good."""


MESSAGE_BYTES_MAX = 64 * 1024
"""Bytes of one message of the handshake; the largest that is sent for a good reason is a chain of certificates. TLS
itself would let a stranger announce 16 MB and have every piece of it copied again and again."""


class CertificateAlert(tls.Alert):
    """A refused certificate as the alert that the peer is told; its text is the alert's name and no more."""

    def __init__(self, alert: TlsAlert) -> None:
        self.description = tls.AlertDescription(alert)
        super().__init__(alert.name.lower())


class MtlsContext(tls.Context):
    """The server's TLS state machine with a client certificate required and verified."""

    verify: Verify
    refusal: CertificateRefused | None

    def handle_message(self, input_data: bytes, output_buf: dict[tls.Epoch, Buffer]) -> None:
        """See Context."""
        if len(self._receive_buffer) + len(input_data) > MESSAGE_BYTES_MAX:
            raise tls.AlertDecodeError(f"a message of more than {MESSAGE_BYTES_MAX} bytes")
        super().handle_message(input_data, output_buf)

    def _server_handle_certificate(self, input_buf: Buffer) -> None:
        super()._server_handle_certificate(input_buf)
        if self._peer_certificate is None:
            # aioquic would carry on to Finished.
            self._refuse(CertificateRefused(TlsAlert.CERTIFICATE_REQUIRED, "it showed no certificate"))

    def _server_handle_certificate_verify(self, input_buf: Buffer) -> None:
        assert self._peer_certificate is not None, "the state before this one saw to it"
        try:
            self.verify(self._peer_certificate, self._peer_certificate_chain)
        except CertificateRefused as refusal:
            self._refuse(refusal)
        super()._server_handle_certificate_verify(input_buf)

    def _refuse(self, refusal: CertificateRefused) -> None:
        self.refusal = refusal
        raise CertificateAlert(refusal.alert) from refusal


class MtlsConnection(QuicConnection):
    """The server's end of a connection whose client has to prove a certificate."""

    def __init__(
        self,
        *,
        configuration: QuicConfiguration,
        verify: Verify,
        original_destination_connection_id: bytes,
        retry_source_connection_id: bytes | None = None,
    ) -> None:
        self._verify_client = verify
        super().__init__(
            configuration=configuration,
            original_destination_connection_id=original_destination_connection_id,
            retry_source_connection_id=retry_source_connection_id,
        )

    @property
    def peer_certificate(self) -> x509.Certificate | None:
        """The client's certificate; verified once the handshake has completed."""
        return self.tls._peer_certificate

    @property
    def peer_intermediates(self) -> Sequence[x509.Certificate]:
        """What the client sent along with it."""
        return self.tls._peer_certificate_chain

    @property
    def refusal(self) -> CertificateRefused | None:
        """Why the certificate was refused, if it was."""
        context = getattr(self, "tls", None)
        return context.refusal if isinstance(context, MtlsContext) else None

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        # The base class builds its context itself and offers no other way to another one; both have the same layout.
        context = self.tls
        context.__class__ = MtlsContext
        assert isinstance(context, MtlsContext)
        context.verify = self._verify_client
        context.refusal = None
        context._request_client_certificate = True
