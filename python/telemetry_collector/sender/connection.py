"""A `Session` over aioquic: datagrams in and out, the handshake, timers. A thin adapter; decisions are the session's.

aioquic is used below its public API in three places, and therefore pinned: the collector's certificate is looked at
once more after the handshake (it must be meant for servers), datagrams are sent without an address because the socket
is connected (only then does the system report that nobody listens), and a close from the other side is noticed when
it arrives rather than after the draining period.
"""

import asyncio
import hmac
import ssl
from typing import cast

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events as quic_events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import NetworkAddress, QuicConnection
from aioquic.quic.packet import QuicErrorCode, QuicProtocolVersion
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from telemetry_collector.errors import CertificateError
from telemetry_collector.model import ALPN, CloseCode
from telemetry_collector.sender import wire
from telemetry_collector.sender.session import ProtocolViolation, Session
from telemetry_collector.sender.settings import TransportSettings

_IDLE_TIMEOUT_SECS = 60.0
_STREAM_ID_STEP = 4
_RESET_TOKEN_BYTES = 16


def configuration_of(settings: TransportSettings, server_name: str) -> QuicConfiguration:
    """Reads the certificates. Raises CertificateError that names the file."""
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=[ALPN],
        idle_timeout=_IDLE_TIMEOUT_SECS,
        max_datagram_size=settings.max_datagram_size,
        server_name=server_name,
        supported_versions=[QuicProtocolVersion.VERSION_1],
        verify_mode=ssl.CERT_REQUIRED,
    )
    try:
        configuration.load_cert_chain(settings.cert_path, settings.key_path)
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise CertificateError(
            f"cannot use the certificate {settings.cert_path} with the key {settings.key_path}: {error}"
        ) from error
    if configuration.private_key is None:
        raise CertificateError(f"{settings.key_path} holds no private key")
    try:
        # Without any authority aioquic would take the public ones, which must never vouch for a collector.
        authorities = x509.load_pem_x509_certificates(settings.ca_path.read_bytes())
    except (OSError, ValueError) as error:
        raise CertificateError(f"cannot read the certificate authority {settings.ca_path}: {error}") from error
    configuration.load_verify_locations(cadata=b"".join(each.public_bytes(Encoding.PEM) for each in authorities))
    return configuration


class Connection(QuicConnectionProtocol):
    """One connection, told about by three futures and a flag.

    `established`: the handshake is done on our side; the collector may still refuse our certificate. `good`: the first
    reply has come. `finished`: the session was told to finish, and has. `lost`: it is over; the result says why.
    """

    def __init__(self, quic: QuicConnection, session: Session, settings: TransportSettings) -> None:
        super().__init__(quic)
        self.session = session
        self.good: asyncio.Future[None] = self._loop.create_future()
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self.finished: asyncio.Future[None] = self._loop.create_future()
        self.established = False
        self._settings = settings
        self._peer: NetworkAddress = ("", 0)
        self._pump_timer: asyncio.TimerHandle | None = None
        self._pump_handle: asyncio.Handle | None = None
        self._unreachable: asyncio.TimerHandle | None = None

    def start(self, peer: NetworkAddress) -> None:
        """Begins the handshake."""
        self._peer = peer
        self.connect(peer)

    def pump(self) -> None:
        """There may be something to send: looks at the end of this round of the event loop."""
        if self._pump_handle is None and not self.lost.done():
            self._pump_handle = self._loop.call_soon(self._pump)

    def shut(self, reason: str = "closed") -> None:
        """Closes the connection with NORMAL unless it is lost already, and its socket. Idempotent.

        The closing period is left out: should the close get lost, the collector's idle timeout does its work.
        """
        self._lose(reason)
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
            self._lose("the collector no longer knows the connection (stateless reset)")
            return
        # The socket is connected, so there is one peer, however the address is spelt.
        self._quic.receive_datagram(cast(bytes, data), self._peer, now=self._loop.time())
        self._process_events()
        closed = self._quic._close_event
        if closed is not None and not self.lost.done():
            self._lose(_close_reason(closed))
        self._pump()

    def error_received(self, exc: Exception) -> None:
        """The system reports that nobody listens: at once fatal for a handshake, later only if nothing comes soon."""
        if not self.established:
            self._lose(str(exc))
        elif self._unreachable is None and not self.lost.done():
            self._unreachable = self._loop.call_later(self._settings.unreachable_secs, self._lose, str(exc))

    def quic_event_received(self, event: quic_events.QuicEvent) -> None:
        now = self._loop.time()
        match event:
            case quic_events.HandshakeCompleted():
                self._handshake_completed(event)
            case quic_events.StreamDataReceived(stream_id=stream_id):
                try:
                    self.session.receive(stream_id // _STREAM_ID_STEP, event.data, now)
                except ProtocolViolation as violation:
                    self._lose(str(violation))
                    return
                if event.end_stream:
                    self.session.ended(stream_id // _STREAM_ID_STEP, now)
            case quic_events.StreamReset(stream_id=stream_id):
                self.session.ended(stream_id // _STREAM_ID_STEP, now)
            case quic_events.StopSendingReceived(stream_id=stream_id, error_code=code):
                self.session.stopped(stream_id // _STREAM_ID_STEP, code, now)
            case quic_events.ConnectionTerminated():
                self._lose(_close_reason(event))

    def transmit(self) -> None:
        self._transmit_task = None
        assert self._transport is not None, "datagrams flow between connection_made and connection_lost"
        for data, _ in self._quic.datagrams_to_send(now=self._loop.time()):
            self._transport.sendto(data)
        timer_at = self._quic.get_timer()
        if self._timer is not None and self._timer_at != timer_at:
            self._timer.cancel()
            self._timer = None
        if self._timer is None and timer_at is not None:
            self._timer = self._loop.call_at(timer_at, self._handle_timer)
        self._timer_at = timer_at

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(str(exc) if exc else "the socket was closed")

    # ---- private

    def _is_reset(self, data: bytes) -> bool:
        """Whether it is the stateless reset (RFC 9000, 10.3) of this connection, which aioquic does not look for."""
        token = self._quic._peer_cid.stateless_reset_token
        return not data[0] & 0x80 and bool(token) and hmac.compare_digest(data[-_RESET_TOKEN_BYTES:], token)

    def _handshake_completed(self, event: quic_events.HandshakeCompleted) -> None:
        certificate = self._quic.tls._peer_certificate
        if event.alpn_protocol != ALPN:
            self._lose(f"the peer speaks {event.alpn_protocol}, not {ALPN}")
        elif certificate is None or not _is_for_servers(certificate):
            self._lose("the collector's certificate is not meant for servers (extended key usage)")
        elif (objection := self._objection(certificate)) is not None:
            self._lose(objection)
        else:
            self.established = True

    def _objection(self, certificate: x509.Certificate) -> str | None:
        if self._settings.judge is not None:
            try:
                self._settings.judge(certificate, self._quic.tls._peer_certificate_chain)
            except CertificateError as error:
                return str(error)
        return None

    def _pump(self, now: float | None = None) -> None:
        """Sends what may be sent, and sets the timer for the next look."""
        if self._pump_handle is not None:
            self._pump_handle.cancel()
            self._pump_handle = None
        if self._pump_timer is not None:
            self._pump_timer.cancel()
            self._pump_timer = None
        if self.established and not self.lost.done():
            now = self._loop.time() if now is None else now
            if self.session.expired(now):
                self._lose("no reply in time", CloseCode.TIMED_OUT)
                return
            for stream, data, finish in self.session.poll(now):
                self._quic.send_stream_data(stream * _STREAM_ID_STEP, data, end_stream=finish)
            if self.session.good and not self.good.done():
                self.good.set_result(None)
            deadline = self.session.deadline()
            if deadline is not None:
                # The event loop may call a little early; the session is told the time it asked for.
                self._pump_timer = self._loop.call_at(deadline, lambda: self._pump(max(deadline, self._loop.time())))
            if self.session.finished and not self.finished.done():
                self.finished.set_result(None)
        self.transmit()

    def _lose(self, reason: str, code: CloseCode = CloseCode.NORMAL) -> None:
        if self.lost.done():
            return
        self.lost.set_result(reason)
        if not self.good.done():
            self.good.cancel()
        for handle in (self._pump_timer, self._pump_handle, self._unreachable):
            if handle is not None:
                handle.cancel()
        self._pump_timer = self._pump_handle = self._unreachable = None
        self._quic.close(error_code=code, reason_phrase=reason[:200])
        if self._transport is not None and not self._transport.is_closing():
            self.transmit()


def _is_for_servers(certificate: x509.Certificate) -> bool:
    """A node's own certificate must not pass for a collector's. Without the extension any use is allowed."""
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.SERVER_AUTH in usages


def _close_reason(event: quic_events.ConnectionTerminated) -> str:
    """Words for a close: an application's code, a TLS alert, or a transport error."""
    if event.frame_type is None:
        name = wire.close_label(event.error_code)
    elif event.error_code >= QuicErrorCode.CRYPTO_ERROR:
        name = f"TLS alert {event.error_code - QuicErrorCode.CRYPTO_ERROR}"
    else:
        name = f"QUIC error {event.error_code:#x}"
    return f"{name}: {event.reason_phrase}" if event.reason_phrase else name
