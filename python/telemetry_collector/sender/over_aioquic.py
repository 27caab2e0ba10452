"""A connection over aioquic: datagrams in and out, the handshake, QUIC's timers.

aioquic is used below its public API in three places, and therefore pinned: the collector's certificate is looked at
once more after the handshake (it must be meant for servers), datagrams are sent without an address because the socket
is connected (only then does the system report that nobody listens), and a close from the other side is noticed when
it arrives rather than after the draining period.
"""

import asyncio
import hmac
import socket
import ssl
from typing import cast

from aioquic.quic import events as quic_events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import NetworkAddress, QuicConnection
from aioquic.quic.packet import QuicProtocolVersion
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from telemetry_collector.errors import CertificateError
from telemetry_collector.model import ALPN
from telemetry_collector.sender import wire
from telemetry_collector.sender.connected import ConnectedProtocol, load_own
from telemetry_collector.sender.connection import Connection
from telemetry_collector.sender.settings import TransportSettings

SEND_BUFFER_BYTES = 1024 * 1024
_IDLE_TIMEOUT_SECS = 60.0
_STREAM_ID_STEP = 4
_RESET_TOKEN_BYTES = 16


class Aioquic:
    """Begins connections to one collector, with the certificates as they are now."""

    def __init__(self, settings: TransportSettings, server_name: str) -> None:
        """Raises CertificateError that names the file."""
        self._settings = settings
        self._configuration = _configuration(settings, server_name)

    async def start(self, connection: Connection, family: socket.AddressFamily, address: tuple[str, int]) -> None:
        """Begins a handshake. OSError when there is no way to the address."""
        quic = QuicConnection(configuration=self._configuration)
        creating = asyncio.ensure_future(
            asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Protocol(quic, connection, self._settings.unreachable_secs),
                family=family,
                remote_addr=address,
            )
        )
        try:
            transport, protocol = await asyncio.shield(creating)
        except asyncio.CancelledError:
            # It takes one round of the event loop, and uvloop leaves the socket open when it is cut short.
            transport, _ = await creating
            transport.close()
            raise
        # The default holds a few dozen datagrams; what does not fit would count as lost on the network.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        connection.start(protocol)
        protocol.begin(transport.get_extra_info("peername"))


def _configuration(settings: TransportSettings, server_name: str) -> QuicConfiguration:
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=[ALPN],
        idle_timeout=_IDLE_TIMEOUT_SECS,
        max_datagram_size=settings.max_datagram_size,
        server_name=server_name,
        supported_versions=[QuicProtocolVersion.VERSION_1],
        verify_mode=ssl.CERT_REQUIRED,
    )
    load_own(configuration, settings.cert_path, settings.key_path)
    try:
        # Without any authority aioquic would take the public ones, which must never vouch for a collector.
        authorities = x509.load_pem_x509_certificates(settings.ca_path.read_bytes())
    except (OSError, ValueError) as error:
        raise CertificateError(f"cannot read the certificate authority {settings.ca_path}: {error}") from error
    configuration.load_verify_locations(cadata=b"".join(each.public_bytes(Encoding.PEM) for each in authorities))
    return configuration


class _Protocol(ConnectedProtocol):
    """The `Transport` of one connection."""

    def __init__(self, quic: QuicConnection, connection: Connection, unreachable_secs: float) -> None:
        super().__init__(quic)
        self._connection = connection
        self._unreachable_secs = unreachable_secs
        self._unreachable: asyncio.TimerHandle | None = None
        self._peer: NetworkAddress = ("", 0)

    def begin(self, peer: NetworkAddress) -> None:
        self._peer = peer
        self.connect(peer)

    # ---- from the connection

    def put(self, stream: int, data: bytes, *, finish: bool) -> None:
        self._quic.send_stream_data(stream * _STREAM_ID_STEP, data, end_stream=finish)

    def flush(self) -> None:
        self.transmit()

    # aioquic's own, with the order of arguments that a connection uses.
    def close(self, error_code: int = 0, reason_phrase: str = "") -> None:
        if self._unreachable is not None:
            self._unreachable.cancel()
            self._unreachable = None
        self._quic.close(error_code=error_code, reason_phrase=reason_phrase[:200])
        if self._transport is not None and not self._transport.is_closing():
            self.transmit()

    def release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.close()

    # ---- from the network

    def datagram_received(self, data: bytes | str, _addr: NetworkAddress) -> None:
        if self._unreachable is not None:
            self._unreachable.cancel()
            self._unreachable = None
        if self._is_reset(cast(bytes, data)):
            self._connection.lose(wire.RESET_WORDS)
            return
        # The socket is connected, so there is one peer, however the address is spelt.
        self._quic.receive_datagram(cast(bytes, data), self._peer, now=self._loop.time())
        self._process_events()
        closed = self._quic._close_event
        if closed is not None and not self._connection.lost.done():
            self._connection.lose(_close_reason(closed))
        self._connection.pump_now()

    def error_received(self, exc: Exception) -> None:
        """The system reports that nobody listens: at once fatal for a handshake, later only if nothing comes soon."""
        if not self._connection.established:
            self._connection.lose(str(exc))
        elif self._unreachable is None and not self._connection.lost.done():
            self._unreachable = self._loop.call_later(self._unreachable_secs, self._connection.lose, str(exc))

    def quic_event_received(self, event: quic_events.QuicEvent) -> None:
        if self._connection.lost.done():
            return
        match event:
            case quic_events.HandshakeCompleted():
                self._handshake_completed(event)
            case quic_events.StreamDataReceived(stream_id=stream_id):
                self._connection.received(stream_id // _STREAM_ID_STEP, event.data)
                if event.end_stream:
                    self._connection.ended(stream_id // _STREAM_ID_STEP)
            case quic_events.StreamReset(stream_id=stream_id):
                self._connection.ended(stream_id // _STREAM_ID_STEP)
            case quic_events.StopSendingReceived(stream_id=stream_id, error_code=code):
                self._connection.stopped(stream_id // _STREAM_ID_STEP, code)
            case quic_events.ConnectionTerminated():
                self._connection.lose(_close_reason(event))

    def transmit(self) -> None:
        self._transmit_task = None
        assert self._transport is not None, "datagrams flow between connection_made and connection_lost"
        self._send_due(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.lose(str(exc) if exc else "the socket was closed")

    # ---- private

    def _is_reset(self, data: bytes) -> bool:
        """Whether it is the stateless reset (RFC 9000, 10.3) of this connection, which aioquic does not look for."""
        token = self._quic._peer_cid.stateless_reset_token
        return not data[0] & 0x80 and bool(token) and hmac.compare_digest(data[-_RESET_TOKEN_BYTES:], token)

    def _handshake_completed(self, event: quic_events.HandshakeCompleted) -> None:
        certificate = self._quic.tls._peer_certificate
        if event.alpn_protocol != ALPN:
            self._connection.lose(f"the peer speaks {event.alpn_protocol}, not {ALPN}")
        elif certificate is None or not _is_for_servers(certificate):
            self._connection.lose("the collector's certificate is not meant for servers (extended key usage)")
        else:
            self._connection.handshaken(lambda: (certificate, self._quic.tls._peer_certificate_chain))


def _is_for_servers(certificate: x509.Certificate) -> bool:
    """A node's own certificate must not pass for a collector's. Without the extension any use is allowed."""
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.SERVER_AUTH in usages


def _close_reason(event: quic_events.ConnectionTerminated) -> str:
    if event.frame_type is None:
        return wire.close_words(event.error_code, event.reason_phrase)
    return wire.transport_words(event.error_code, event.reason_phrase)
