"""The asking side: a handshake, a few probes, and goodbye."""

import asyncio
import socket
from dataclasses import dataclass

from aioquic.quic import events as quic
from aioquic.quic.connection import NetworkAddress, QuicConnection

from telemetry_collector.errors import CertificateError
from telemetry_collector.probe.material import ALPN, PROBE_BYTES, Material
from telemetry_collector.probe.measurement import Failure, Measurement
from telemetry_collector.security.identity import Identity
from telemetry_collector.security.refusal import CertificateRefused
from telemetry_collector.security.verifier import ClientVerifier
from telemetry_collector.sender.connected import ConnectedProtocol

NUMBER_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """How a peer is probed."""

    probes: int = 10
    gap_secs: float = 0.02
    """Between two probes: they are to meet the network's state, not each other."""
    timeout_secs: float = 2.0
    """For the handshake, and again for the probes' return after the last was sent."""


async def probe(family: int, host: str, port: int, material: Material, burst: Burst) -> Measurement:
    """Probes a peer at an address, on a connection of its own. Raises nothing that the network can cause."""
    try:
        configuration, verifier = material.configuration(is_client=True), material.verifier()
    except CertificateError as error:
        return Measurement(failure=Failure.FAULT, detail=str(error))
    loop = asyncio.get_running_loop()
    connection = QuicConnection(configuration=configuration)
    try:
        transport, prober = await loop.create_datagram_endpoint(
            lambda: _Prober(connection, verifier), family=socket.AddressFamily(family), remote_addr=(host, port)
        )
    except OSError as error:
        return Measurement(failure=Failure.UNREACHABLE, detail=str(error))
    try:
        return await prober.run(transport.get_extra_info("peername"), burst)
    finally:
        prober.release()


class _Prober(ConnectedProtocol):
    """One burst on one connection."""

    def __init__(self, connection: QuicConnection, verifier: ClientVerifier) -> None:
        super().__init__(connection)
        self._verifier = verifier
        self._peer: NetworkAddress = ("", 0)
        self._established: asyncio.Future[str] = self._loop.create_future()
        self._over = asyncio.Event()
        self._sent_at: list[float] = []
        self._round_trips: dict[int, float] = {}
        self._probes = 0
        self._failure: tuple[Failure, str] | None = None

    async def run(self, peer: NetworkAddress, burst: Burst) -> Measurement:
        """From the handshake to the last probe's return."""
        self._peer = peer
        began = self._loop.time()
        self.connect(peer)
        done, _ = await asyncio.wait([self._established], timeout=burst.timeout_secs)
        if not done or self._failure is not None:
            kind, detail = self._failure or (Failure.TIMEOUT, f"no handshake within {burst.timeout_secs:g} s")
            return Measurement(failure=kind, detail=detail)
        handshake_secs, node = self._loop.time() - began, self._established.result()
        await self._send(burst)
        failure, detail = self._failure or (None, "")
        if failure is None and not self._round_trips:
            failure, detail = Failure.SILENT, f"{len(self._sent_at)} probes and no answer"
        return Measurement(
            node=node,
            handshake_secs=handshake_secs,
            sent=len(self._sent_at),
            round_trips=tuple(self._round_trips.values()),
            failure=failure,
            detail=detail,
        )

    async def _send(self, burst: Burst) -> None:
        self._probes = burst.probes
        for number in range(burst.probes):
            if self._over.is_set():
                return
            self._quic.send_datagram_frame(number.to_bytes(NUMBER_BYTES).ljust(PROBE_BYTES, b"\0"))
            self._sent_at.append(self._loop.time())
            self.transmit()
            last = number == burst.probes - 1
            try:
                async with asyncio.timeout(burst.timeout_secs if last else burst.gap_secs):
                    await self._over.wait()
            except TimeoutError:
                continue

    def release(self) -> None:
        """Says goodbye once, waits for no answer, and gives back the socket."""
        if self._transport is not None and not self._transport.is_closing():
            self._quic.close()
            self.transmit()
            self._transport.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._established.cancel()

    # ---- from aioquic

    def quic_event_received(self, event: quic.QuicEvent) -> None:
        """See QuicConnectionProtocol."""
        match event:
            case quic.HandshakeCompleted(alpn_protocol=protocol):
                self._handshaken(protocol)
            case quic.DatagramFrameReceived(data=data):
                self._returned(data)
            case quic.ConnectionTerminated():
                self._fail(Failure.REFUSED, f"{event.reason_phrase or 'closed'} ({event.error_code})")

    def datagram_received(self, data: bytes | str, addr: NetworkAddress) -> None:
        """See DatagramProtocol."""
        del addr  # the socket is connected: there is one peer, however its address is spelt
        super().datagram_received(data, self._peer)
        closed = self._quic._close_event
        if closed is not None:
            # aioquic tells of it only after the time that a connection takes to drain.
            self._fail(Failure.REFUSED, f"{closed.reason_phrase or 'closed'} ({closed.error_code})")

    def error_received(self, exc: Exception) -> None:
        """The system reports that nobody listens."""
        self._fail(Failure.UNREACHABLE, str(exc))

    def transmit(self) -> None:
        """See QuicConnectionProtocol."""
        self._transmit_task = None
        if self._transport is None or self._transport.is_closing():
            return
        self._send_due(self._transport)

    def _handshaken(self, protocol: str | None) -> None:
        certificate = self._quic.tls._peer_certificate
        if protocol != ALPN or certificate is None:
            self._fail(Failure.REFUSED, f"it speaks {protocol}, not {ALPN}")
            return
        try:
            self._verifier.verify(certificate, self._quic.tls._peer_certificate_chain)
        except CertificateRefused as error:
            self._fail(Failure.CERTIFICATE, str(error))
            return
        identity = Identity.of(certificate)
        if identity is None:
            self._fail(Failure.CERTIFICATE, "it names no node")
        elif not self._established.done():
            self._established.set_result(identity.node)

    def _returned(self, data: bytes) -> None:
        now, number = self._loop.time(), int.from_bytes(data[:NUMBER_BYTES])
        if number < len(self._sent_at) and number not in self._round_trips:
            self._round_trips[number] = now - self._sent_at[number]
            if len(self._round_trips) == self._probes:
                self._over.set()

    def _fail(self, kind: Failure, detail: str) -> None:
        if self._failure is None:
            self._failure = (kind, detail[:200])
        self._over.set()
        if not self._established.done():
            self._established.set_result("")
