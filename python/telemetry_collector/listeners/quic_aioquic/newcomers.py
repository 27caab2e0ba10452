"""First datagrams: whose sender may begin, waits for a place, must prove its address or speak another version first, or
is not heard.

What the kernel sheds by is the rate of those that are turned away. A fleet that connects is no flood: its handshakes
have bounds of their own, and what is shed of them comes again only a second later. So who is sent away for a token and
comes back with it was not turned away after all.
"""

from __future__ import annotations

import asyncio

from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    encode_quic_version_negotiation,
)

from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.listeners.quic_aioquic.arrivals import Arrivals, address_of
from telemetry_collector.listeners.quic_aioquic.backlog import Backlog
from telemetry_collector.listeners.quic_aioquic.datagrams import DatagramSocket, Path
from telemetry_collector.listeners.quic_aioquic.material import CONNECTION_ID_BYTES, VERSIONS
from telemetry_collector.listeners.quic_aioquic.retry import RetryTokens
from telemetry_collector.listeners.quic_aioquic.waiting import Newcomer, WaitingRoom
from telemetry_collector.listeners.settings import QuicListenerSettings
from telemetry_collector.listeners.shedding import ADJUST_SECS, Shedding

HANDSHAKES_AHEAD = 4
"""Handshakes with something to be handled before one more begins of those that wait: enough that there is always work.
With many more, what a client has sent is handled so late that both sides send everything again."""

WAIT_SHARE = 0.9
"""So much of the time that a handshake may take somebody may wait for its place. Its client gives up at about the end
of that time, and serving whoever has no time left would take it from those behind, until nobody is served in time."""


class Newcomers:
    """Judges datagrams with a long header that belong to no connection, and tells what becomes of them."""

    def __init__(self, settings: QuicListenerSettings, events: ListenerEvents, backlog: Backlog) -> None:
        """`backlog` tells how much of handshakes there is to do."""
        self.handshakes_max = settings.handshakes_max
        self._wait_secs_max = settings.deadlines.handshake * WAIT_SHARE
        self._events = events
        self._backlog = backlog
        self._room = WaitingRoom()
        self._arrivals = Arrivals(
            settings.handshakes_max, settings.handshakes_per_address, settings.connections_per_address_per_sec
        )
        self._retry_tokens = RetryTokens(CONNECTION_ID_BYTES)
        self._socket: DatagramSocket | None = None
        self._shedding: Shedding
        self._adjusting: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._room)

    def start(self, socket: DatagramSocket, loop: asyncio.AbstractEventLoop) -> None:
        """From now on newcomers are welcome, and answered over this socket."""
        self._socket, self._loop = socket, loop
        self._shedding = socket.shedding()

    def stop(self) -> None:
        """Nobody begins any more. Idempotent."""
        self._socket = None
        while (newcomer := self._room.leave()) is not None:
            self._send_off(newcomer, "shutting_down")
        self._events.newcomers_waiting(0)
        if self._adjusting is not None:
            self._adjusting.cancel()

    def judge(self, header: QuicHeader, data: bytes, path: Path, under_way: int, now: float) -> Newcomer | None:
        """Whether the sender of a datagram may begin now, given how many handshakes are under way; None when not, which
        was counted or answered, or when it waits."""
        # A first datagram is padded (RFC 9000, 14.1): nobody is answered with more than was sent.
        if len(data) < SMALLEST_MAX_DATAGRAM_SIZE or len(header.destination_cid) < CONNECTION_ID_BYTES:
            self._drop("garbage")
        elif header.version not in VERSIONS:
            self._negotiate_version(header, path)
        elif header.packet_type is not QuicPacketType.INITIAL:
            self._drop("unknown_connection")
        elif self._socket is None:
            self._refuse("shutting_down", path)
        elif header.destination_cid in self._room:
            if not self._room.add(header.destination_cid, data, path):
                self._drop("backlog_full")
        elif (newcomer := self._arrive(self._socket, header, data, path, under_way, now)) is not None:
            return newcomer
        return None

    def next(self, under_way: int, now: float) -> Newcomer | None:
        """Who has waited longest and may begin now; None when nobody may."""
        while under_way < self.handshakes_max and not self._busy and (newcomer := self._room.leave()) is not None:
            self._events.newcomers_waiting(len(self._room))
            if now - newcomer.since <= self._wait_secs_max:
                return newcomer
            self._send_off(newcomer, "waited_too_long")
        return None

    @property
    def _busy(self) -> bool:
        return self._backlog.handshakes >= HANDSHAKES_AHEAD

    def turned_away(self) -> None:
        """A first datagram has led to nothing. While there are any, the share that the kernel lets through is set again
        and again."""
        self._shedding.arrived()
        if self._adjusting is None and self._socket is not None:
            self._adjusting = self._loop.call_later(ADJUST_SECS, self._adjust, self._loop.time())

    def _arrive(
        self, socket: DatagramSocket, header: QuicHeader, data: bytes, path: Path, under_way: int, now: float
    ) -> Newcomer | None:
        address, proven = address_of(path.peer[0]), bool(header.token)
        crowded = under_way >= self.handshakes_max or len(self._room) > 0
        original = header.destination_cid
        if crowded and self._room.full:
            self._refuse("too_many_handshakes", path)
            return None
        if proven:
            found = self._retry_tokens.original_destination(header, path, now)
            if found is None:
                self._drop("bad_token")
                return None
            original = found
        elif crowded or self._arrivals.must_prove(address, under_way, now):
            socket.send(self._retry_tokens.answer(header, path, now), path)
            self._events.retry_sent()
            self.turned_away()
            return None
        refusal = self._arrivals.refusal(address, proven=proven, now=now)
        if refusal is not None:
            self._refuse(refusal, path)
            return None
        retry_id = header.destination_cid if proven else None
        newcomer = Newcomer(original, retry_id, self._arrivals.begin(address), now, [(data, path)])
        if retry_id is not None:
            # Only here, where an address has its bound: a token that is sent again and again is to hide no flood.
            self._shedding.came_back()
            if crowded or self._busy:
                self._room.enter(retry_id, newcomer)
                self._events.newcomers_waiting(len(self._room))
                return None
        return newcomer

    def _send_off(self, newcomer: Newcomer, reason: str) -> None:
        newcomer.handshake_ended()
        self._events.connection_refused(reason, str(newcomer.datagrams[0][1]))

    def _refuse(self, reason: str, path: Path) -> None:
        self.turned_away()
        self._events.connection_refused(reason, str(path))

    def _drop(self, reason: str) -> None:
        self.turned_away()
        self._events.datagram_dropped(reason)

    def _negotiate_version(self, header: QuicHeader, path: Path) -> None:
        self._drop("unsupported_version")
        if self._socket is not None and header.packet_type is not QuicPacketType.VERSION_NEGOTIATION:
            answer = encode_quic_version_negotiation(
                source_cid=header.destination_cid,
                destination_cid=header.source_cid,
                supported_versions=list(VERSIONS),
            )
            self._socket.send(answer, path)

    def _adjust(self, since: float) -> None:
        now = self._loop.time()
        self._shedding.adjust(now - since)
        self._events.newcomers_passing(self._shedding.share)
        shedding = self._shedding.share < 1.0
        self._adjusting = self._loop.call_later(ADJUST_SECS, self._adjust, now) if shedding else None
