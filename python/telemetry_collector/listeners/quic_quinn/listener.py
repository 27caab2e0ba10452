"""The listener: a socket of Python's, served by the core; what happens there is counted and told here."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from itertools import count

from telemetry_collector import _core
from telemetry_collector.config.section import Address
from telemetry_collector.errors import CertificateError
from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.listeners.quic_quinn.material import settings_of, trust_of
from telemetry_collector.listeners.settings import QuicListenerSettings
from telemetry_collector.listeners.shedding import ADJUST_SECS, Shedding
from telemetry_collector.listeners.sockets import Losses, bound
from telemetry_collector.model import CloseCode
from telemetry_collector.observe.logs import logger
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.verifier import ClientVerifier

_log = logger(__name__)

LOOKS_A_COUNT_OF_DATAGRAMS = 10
"""Looks at the counters, `ADJUST_SECS` apart, for one at the datagrams, which asks every connection."""

TURNED_AWAY_PER_SEC = 8_000
"""First datagrams that begin no handshake before the kernel sheds: some 30 % of a processor. Those that begin one have
bounds of their own, and are as many as the processors can take: a fleet that comes back is no flood, and what is shed
of its handshakes is sent again only a second later."""


class HandlingFailed(Exception):
    """Serving a connection failed inside the core."""


class QuinnListener:
    """Takes agents' connections and journals what they send, on threads of the core.

    The event loop starts and stops it and hears what happened. An error in one connection closes that connection and no
    other.
    """

    def __init__(
        self,
        settings: QuicListenerSettings,
        core: _core.Ingest,
        verifier: ClientVerifier,
        allowlist: AllowList,
        events: ListenerEvents,
    ) -> None:
        self._settings = settings
        self._core = core
        self._verifier = verifier
        self._allowlist = allowlist
        self._events = events
        self._socket: socket.socket | None = None
        self._server: _core.QuicServer | None = None
        self._counting: asyncio.Task[None] | None = None
        self._counted: Mapping[str, int] = {}
        self._datagrams_counted = 0
        self._stopping = asyncio.Lock()

    @property
    def address(self) -> Address:
        """Where it listens, with the port that the system chose. Only between `start` and `stop`."""
        if self._socket is None:
            raise RuntimeError("the listener is not started")
        host, port = self._socket.getsockname()[:2]
        return Address(host, port)

    @property
    def connections(self) -> int:
        """Open connections that were let in."""
        return self._server.connections if self._server is not None else 0

    async def start(self) -> None:
        """Begins to listen. CertificateError and AddressError say what is wrong."""
        settings = self._settings
        material = await asyncio.to_thread(settings_of, settings)
        trust = trust_of(self._verifier, self._allowlist)
        sock = await bound(
            settings.address,
            receive_buffer_bytes=settings.receive_buffer_bytes,
            send_buffer_bytes=settings.send_buffer_bytes,
        )
        try:
            self._server = _core.QuicServer(self._core, sock.fileno(), material, trust)
        except _core.CoreError as error:
            sock.close()
            raise CertificateError(f"{settings.tls_cert_path}: {error}.") from error
        self._socket = sock
        self._losses = Losses(sock)
        self._shedding = Shedding(sock, TURNED_AWAY_PER_SEC)
        self._events.started(settings.connections_max)
        asyncio.get_running_loop().add_reader(self._server.fileno(), self._hear)
        self._counting = asyncio.create_task(self._count_forever(), name="quinn-listener-counts")
        sent, received = self._server.offloads
        _log.info(
            "listening",
            address=str(self.address),
            protocol="quic",
            transport="quinn",
            datagrams_a_send=sent,
            datagrams_a_receive=received,
        )

    async def stop(self, timeout_secs: float = 10.0) -> None:
        """Lets nobody in, reads no more, sends the replies that become due within the time, says SHUTTING_DOWN to all.

        Idempotent, and safe before `start`. Cancelled, it waits for no replies; a second call returns with the first.
        """
        async with self._stopping:
            if self._server is None or self._socket is None:
                return
            server, sock = self._server, self._socket
            try:
                unsettled = await asyncio.to_thread(server.settle, timeout_secs)
                if unsettled:
                    _log.warning("listener_stopped_early", connections_with_replies_due=unsettled)
            finally:
                await asyncio.to_thread(server.close)
                if self._counting is not None:
                    self._counting.cancel()
                asyncio.get_running_loop().remove_reader(server.fileno())
                self._hear()
                self._count()
                self._count_datagrams()
                self._server = self._socket = None
                sock.close()
                self._events.stopped()

    async def reconfigure(self, settings: QuicListenerSettings, verifier: ClientVerifier, allowlist: AllowList) -> None:
        """From now on these decide, for open connections too: their number, how long they may be idle, whom is trusted.
        New handshakes show the certificate; address, buffers and threads stay as they are. No connection is closed but
        those that are no longer trusted, also when there are more than there may be.

        CertificateError, and nothing has changed, when the certificate cannot be used.
        """
        assert self._server is not None, "the listener is started"
        trust = await asyncio.to_thread(trust_of, verifier, allowlist)
        material = await asyncio.to_thread(settings_of, settings)
        try:
            await asyncio.to_thread(self._server.reconfigure, material)
        except _core.CoreError as error:
            raise CertificateError(f"{settings.tls_cert_path}: {error}.") from error
        self._settings = settings
        self._events.started(settings.connections_max)
        await self._judge_by(trust)

    async def update_trust(self, verifier: ClientVerifier, allowlist: AllowList) -> None:
        """From now on these decide. Returns when every open connection was judged by them anew."""
        await self._judge_by(await asyncio.to_thread(trust_of, verifier, allowlist))

    async def _judge_by(self, trust: _core.QuicTrust) -> None:
        assert self._server is not None, "the listener is started"
        await asyncio.to_thread(self._server.update_trust, trust)

    # What happened in the core

    def _hear(self) -> None:
        if self._server is None:
            return
        happened, missed = self._server.events()
        for event in happened:
            self._tell(event)
        for kind, labels, amount in missed:
            self._events.missed(kind, labels, amount)

    def _tell(self, event: tuple[object, ...]) -> None:
        events = self._events
        match event:
            case ("opened", str(peer), str(identity), bool(relay)):
                events.connection_opened(peer, identity, relay=relay)
            case ("closed", str(code), str(side), str(peer), str(identity), int(frames), str(words)):
                events.connection_closed(code, side, peer, identity, frames, words)
            case ("refused", str(reason), str(peer), (str() | None) as name):
                events.connection_refused(reason, peer, name)
            case ("handshake_failed", str(alert), str(peer), str(problem)):
                events.handshake_failed(alert, peer, problem)
            case ("stream_failed", str(code), str(peer), str(identity)):
                events.stream_failed(CloseCode[code.upper()], peer, identity)
            case ("handler_failed", str(peer), (str() | None) as name, str(problem)):
                events.handler_failed(peer, name, HandlingFailed(problem))
            case _:
                raise AssertionError(f"the core tells of something unknown: {event}")

    async def _count_forever(self) -> None:
        for look in count(1):
            await asyncio.sleep(ADJUST_SECS)
            try:
                self._look()
                if look % LOOKS_A_COUNT_OF_DATAGRAMS == 0:
                    self._count_datagrams()
            except Exception:  # noqa: BLE001  # with this task's end nothing would be counted, nor floods shed
                _log.exception("counting_failed")

    def _look(self) -> None:
        before = self._counted.get("turned_away", 0)
        self._count()
        self._shed(self._counted.get("turned_away", 0) - before)

    def _shed(self, arrived: int) -> None:
        """Lets through the share of newcomers that the rate allows."""
        if arrived or self._shedding.share < 1.0:
            self._shedding.arrived(arrived)
            self._shedding.adjust(ADJUST_SECS)
            self._events.newcomers_passing(self._shedding.share)

    def _count(self) -> None:
        if self._server is None:
            return
        now, before = self._server.counters(), self._counted
        self._counted = now

        def new(name: str) -> int:
            return now[name] - before.get(name, 0)

        self._events.stream_opened(new("streams_opened"))
        self._events.stream_received(new("stream_bytes_received"), new("frames_received"))
        self._events.retry_sent(new("retries_sent"))
        if garbage := new("garbage"):
            self._events.datagram_dropped("garbage", garbage)
        lost = self._losses.new()
        if lost:
            self._events.datagrams_lost(lost)

    def _count_datagrams(self) -> None:
        if self._server is None:
            return
        now = self._server.datagrams_received
        self._events.datagrams_received(now - self._datagrams_counted)
        self._datagrams_counted = now
