"""The answering side: sends each probe back as it came.

It is no amplifier. A newcomer gets one Retry, smaller than what it sent, until it has come back with the token and so
proved its address; after that a probe is answered by as much as it has. Whoever may go on has shown a node's
certificate. Everything has a bound, and what is beyond it is dropped and counted.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Protocol, cast

from aioquic._buffer import Buffer
from aioquic.quic import events as quic
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE, QuicConfiguration
from aioquic.quic.connection import Limit, NetworkAddress
from aioquic.quic.packet import (
    QuicFrameType,
    QuicHeader,
    QuicPacketType,
    QuicProtocolVersion,
    encode_quic_retry,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler

from telemetry_collector.errors import CertificateError
from telemetry_collector.probe.material import Material
from telemetry_collector.security.mtls import MtlsConnection, Verify

CONNECTIONS_MAX = 64
"""Peers that are answered at a time, those that shake hands included."""

RETRIES_PER_SEC_MAX = 200
"""A Retry costs 20 microseconds of processor time."""

HANDSHAKES_PER_SEC_MAX = 20
"""A handshake costs some milliseconds."""

CONNECTIONS_PER_ADDRESS_MAX = 8
"""So that no address takes all places."""

HANDSHAKE_SECS_MAX = 5.0
"""A newcomer whose handshake is not done by then makes room."""

CONNECTION_SECS_MAX = 30.0
"""A burst takes less; whoever stays longer makes room."""

PROBES_MAX = 1_000
"""Probes of one connection that are answered."""

MATERIAL_SECS = 60.0
"""Certificate files are read anew for the first newcomer after so long."""

CONNECTION_ID_BYTES = 8


class EchoEvents(Protocol):
    """Told what happens."""

    def dropped(self, reason: str) -> None:
        """A datagram or newcomer was not answered. Few reasons: retries, handshakes, connections, token, malformed."""

    def refused(self, peer: str, problem: str) -> None:
        """A peer's certificate was not good."""

    def material_failed(self, problem: str) -> None:
        """Renewed files cannot be used; those of before go on."""


class EchoEndpoint(asyncio.DatagramProtocol):
    """One socket, on the running loop. Made by `open`."""

    def __init__(self, material: Material, events: EchoEvents) -> None:
        """Raises CertificateError when the files cannot be used."""
        self._loop = asyncio.get_running_loop()
        self._material = material
        self._events = events
        self._configuration, self._verify = self._read()
        self._read_at = self._loop.time()
        self._tokens = QuicRetryTokenHandler()
        self._retries = _PerSecond(RETRIES_PER_SEC_MAX)
        self._handshakes = _PerSecond(HANDSHAKES_PER_SEC_MAX)
        self._connections: set[_EchoConnection] = set()
        self._routes: dict[bytes, _EchoConnection] = {}
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls, host: str, port: int, material: Material, events: EchoEvents) -> "EchoEndpoint":
        """Listens. Raises OSError when it cannot, and CertificateError."""
        endpoint = cls(material, events)
        await endpoint._loop.create_datagram_endpoint(lambda: endpoint, local_addr=(host, port))
        return endpoint

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._transport is not None, "it is open"
        return int(self._transport.get_extra_info("sockname")[1])

    @property
    def connections(self) -> int:
        """Peers that are connected or about to be."""
        return len(self._connections)

    def close(self) -> None:
        """Says goodbye to everybody, and gives back the socket. Idempotent."""
        for connection in tuple(self._connections):
            connection.end()
        if self._transport is not None:
            self._transport.close()

    # ---- from the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See BaseProtocol."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: NetworkAddress) -> None:
        """See DatagramProtocol."""
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=CONNECTION_ID_BYTES)
        except ValueError:
            self._events.dropped("malformed")
            return
        connection = self._routes.get(header.destination_cid)
        if connection is None:
            connection = self._newcomer(header, data, addr)
        if connection is not None:
            connection.receive(data, addr)

    def _newcomer(self, header: QuicHeader, data: bytes, addr: NetworkAddress) -> "_EchoConnection | None":
        if (
            header.packet_type is not QuicPacketType.INITIAL
            or header.version != QuicProtocolVersion.VERSION_1
            or len(data) < SMALLEST_MAX_DATAGRAM_SIZE
        ):
            # Not even a word about versions: there is one, and answers to strangers are what amplifiers send.
            self._events.dropped("malformed")
            return None
        now = self._loop.time()
        if not header.token:
            self._retry(header, addr, now)
            return None
        try:
            original = self._tokens.validate_token(
                address=addr, destination_cid=header.destination_cid, token=header.token, now=now
            )
        except ValueError:
            self._events.dropped("token")
            return None
        of_address = sum(connection.host == addr[0] for connection in self._connections)
        if len(self._connections) >= CONNECTIONS_MAX or of_address >= CONNECTIONS_PER_ADDRESS_MAX:
            self._events.dropped("connections")
            return None
        if not self._handshakes.take(now):
            self._events.dropped("handshakes")
            return None
        self._renew(now)
        transport = MtlsConnection(
            configuration=self._configuration,
            verify=self._verify,
            original_destination_connection_id=original,
            retry_source_connection_id=header.destination_cid,
        )
        connection = _EchoConnection(
            transport, addr, self._send, self._forget, self._events, self._routes, header.destination_cid
        )
        self._connections.add(connection)
        return connection

    def _retry(self, header: QuicHeader, addr: NetworkAddress, now: float) -> None:
        if not self._retries.take(now):
            self._events.dropped("retries")
            return
        source = os.urandom(CONNECTION_ID_BYTES)
        token = self._tokens.create_token(
            address=addr,
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=source,
            now=now,
        )
        packet = encode_quic_retry(
            version=QuicProtocolVersion.VERSION_1,
            source_cid=source,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=token,
        )
        self._send(packet, addr)

    def _renew(self, now: float) -> None:
        if now - self._read_at < MATERIAL_SECS:
            return
        self._read_at = now
        try:
            self._configuration, self._verify = self._read()
        except CertificateError as error:
            self._events.material_failed(str(error))

    def _read(self) -> tuple[QuicConfiguration, Verify]:
        configuration = self._material.configuration(is_client=False)
        configuration.connection_id_length = CONNECTION_ID_BYTES
        return configuration, self._material.verifier().verify

    def _send(self, data: bytes, addr: NetworkAddress) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, addr)

    def _forget(self, connection: "_EchoConnection") -> None:
        self._connections.discard(connection)


class _EchoConnection:
    """One peer. It is forgotten, with its routes and its timer, as soon as it has ended."""

    def __init__(
        self,
        transport: MtlsConnection,
        peer: NetworkAddress,
        send: Callable[[bytes, NetworkAddress], None],
        forget: Callable[["_EchoConnection"], None],
        events: EchoEvents,
        routes: dict[bytes, "_EchoConnection"],
        retry_id: bytes,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self.host = str(peer[0])
        self._send = send
        self._forget = forget
        self._events = events
        self._routes = routes
        # Until it knows ours, the peer writes to the name that the Retry gave it: again where an answer gets lost.
        self._ids = {transport.host_cid, retry_id}
        self._probes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._ends = self._loop.call_later(HANDSHAKE_SECS_MAX, self.end)
        routes.update(dict.fromkeys(self._ids, self))
        for name, kind in (("bidi", QuicFrameType.MAX_STREAMS_BIDI), ("uni", QuicFrameType.MAX_STREAMS_UNI)):
            setattr(transport, f"_local_max_streams_{name}", Limit(kind, f"max_streams_{name}", 0))

    def receive(self, data: bytes, addr: NetworkAddress) -> None:
        """A datagram came."""
        self._transport.receive_datagram(data, addr, now=self._loop.time())
        while (event := self._transport.next_event()) is not None:
            self._handle(event)
        refusal = self._transport.refusal
        self._flush()
        # Closing and draining are left out: should our last word get lost, the peer's patience does its work.
        if self._transport._close_event is not None:
            if refusal is not None:
                self._events.refused(self.host, str(refusal))
            self._gone()

    def end(self) -> None:
        """Closes it."""
        self._transport.close()
        self._flush()
        self._gone()

    def _handle(self, event: quic.QuicEvent) -> None:
        match event:
            case quic.HandshakeCompleted():
                self._ends.cancel()
                self._ends = self._loop.call_later(CONNECTION_SECS_MAX, self.end)
            case quic.DatagramFrameReceived(data=data):
                self._probes += 1
                if self._probes > PROBES_MAX:
                    self._transport.close(reason_phrase=f"more than {PROBES_MAX} probes")
                else:
                    self._transport.send_datagram_frame(data)
            case quic.ConnectionIdIssued(connection_id=name):
                self._ids.add(name)
                self._routes[name] = self
            case quic.ConnectionIdRetired(connection_id=name):
                self._ids.discard(name)
                self._routes.pop(name, None)

    def _flush(self) -> None:
        for data, addr in self._transport.datagrams_to_send(now=self._loop.time()):
            self._send(data, addr)
        if self._timer is not None:
            self._timer.cancel()
        at = self._transport.get_timer()
        self._timer = self._loop.call_at(at, self._expire) if at is not None else None

    def _expire(self) -> None:
        self._timer = None
        self._transport.handle_timer(now=self._loop.time())
        self._flush()
        if self._transport._close_event is not None:
            self._gone()

    def _gone(self) -> None:
        for handle in (self._timer, self._ends):
            if handle is not None:
                handle.cancel()
        self._timer = None
        for name in self._ids:
            self._routes.pop(name, None)
        self._forget(self)


class _PerSecond:
    """So many a second, counted from whole second to whole second."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._second = -1
        self._taken = 0

    def take(self, now: float) -> bool:
        """Whether there is one left."""
        if int(now) != self._second:
            self._second, self._taken = int(now), 0
        self._taken += 1
        return self._taken <= self._most
