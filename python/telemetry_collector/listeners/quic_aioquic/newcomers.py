"""First datagrams: whose sender may begin, must prove its address or speak another version first, or is not heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    encode_quic_version_negotiation,
)

from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.listeners.quic_aioquic.arrivals import Arrivals, address_of
from telemetry_collector.listeners.quic_aioquic.datagrams import DatagramSocket, Path
from telemetry_collector.listeners.quic_aioquic.material import CONNECTION_ID_BYTES, VERSIONS
from telemetry_collector.listeners.quic_aioquic.retry import RetryTokens
from telemetry_collector.listeners.settings import QuicListenerSettings
from telemetry_collector.listeners.shedding import ADJUST_SECS, Shedding


class Newcomer(NamedTuple):
    """One that may begin its handshake."""

    original_id: bytes
    """What it called us in its very first datagram."""
    retry_id: bytes | None
    """What we called ourselves when we sent it away for a token."""
    handshake_ended: Callable[[], None]
    """To be called when its handshake is over, however it went."""


class Newcomers:
    """Judges datagrams with a long header that belong to no connection, and tells what becomes of them."""

    def __init__(self, settings: QuicListenerSettings, events: ListenerEvents) -> None:
        self.handshakes_max = settings.handshakes_max
        self._events = events
        self._arrivals = Arrivals(
            settings.handshakes_max, settings.handshakes_per_address, settings.connections_per_address_per_sec
        )
        self._retry_tokens = RetryTokens(CONNECTION_ID_BYTES)
        self._socket: DatagramSocket | None = None
        self._shedding: Shedding
        self._adjusting: asyncio.TimerHandle | None = None

    @property
    def welcome(self) -> bool:
        """Whether anybody may begin."""
        return self._socket is not None

    def start(self, socket: DatagramSocket, loop: asyncio.AbstractEventLoop) -> None:
        """From now on newcomers are welcome, and answered over this socket."""
        self._socket, self._loop = socket, loop
        self._shedding = socket.shedding()

    def stop(self) -> None:
        """Nobody begins any more. Idempotent."""
        self._socket = None
        if self._adjusting is not None:
            self._adjusting.cancel()

    def judge(self, header: QuicHeader, size: int, path: Path, under_way: int, now: float) -> Newcomer | None:
        """Whether the sender of a datagram of so many bytes may begin; None when not, which was counted or answered."""
        # A first datagram is padded (RFC 9000, 14.1): nobody is answered with more than was sent.
        if size < SMALLEST_MAX_DATAGRAM_SIZE or len(header.destination_cid) < CONNECTION_ID_BYTES:
            self._events.datagram_dropped("garbage")
            return None
        self._shed_by_rate()
        if header.version not in VERSIONS:
            self._negotiate_version(header, path)
            return None
        if header.packet_type is not QuicPacketType.INITIAL:
            self._events.datagram_dropped("unknown_connection")
            return None
        if self._socket is None:
            self._events.connection_refused("shutting_down", str(path))
            return None
        if under_way >= self.handshakes_max:
            self._events.connection_refused("too_many_handshakes", str(path))
            return None
        return self._arrive(self._socket, header, path, under_way, now)

    def _arrive(
        self, socket: DatagramSocket, header: QuicHeader, path: Path, under_way: int, now: float
    ) -> Newcomer | None:
        address = address_of(path.peer[0])
        original = header.destination_cid
        if header.token:
            found = self._retry_tokens.original_destination(header, path, now)
            if found is None:
                self._events.datagram_dropped("bad_token")
                return None
            original = found
        elif self._arrivals.must_prove(address, under_way, now):
            socket.send(self._retry_tokens.answer(header, path, now), path)
            self._events.retry_sent()
            return None
        refusal = self._arrivals.refusal(address, proven=bool(header.token), now=now)
        if refusal is not None:
            self._events.connection_refused(refusal, str(path))
            return None
        retry_id = header.destination_cid if header.token else None
        return Newcomer(original, retry_id, self._arrivals.begin(address))

    def _negotiate_version(self, header: QuicHeader, path: Path) -> None:
        self._events.datagram_dropped("unsupported_version")
        if self._socket is not None and header.packet_type is not QuicPacketType.VERSION_NEGOTIATION:
            answer = encode_quic_version_negotiation(
                source_cid=header.destination_cid,
                destination_cid=header.source_cid,
                supported_versions=list(VERSIONS),
            )
            self._socket.send(answer, path)

    def _shed_by_rate(self) -> None:
        """Counts a newcomer. While there are any, the share that the kernel lets through is set again and again."""
        self._shedding.arrived()
        if self._adjusting is None and self._socket is not None:
            self._adjusting = self._loop.call_later(ADJUST_SECS, self._adjust, self._loop.time())

    def _adjust(self, since: float) -> None:
        now = self._loop.time()
        self._shedding.adjust(now - since)
        self._events.newcomers_passing(self._shedding.share)
        shedding = self._shedding.share < 1.0
        self._adjusting = self._loop.call_later(ADJUST_SECS, self._adjust, now) if shedding else None
