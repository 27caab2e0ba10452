"""The listener: one socket, a table of connections, and whom they let in."""

from __future__ import annotations

import asyncio

from aioquic._buffer import Buffer
from aioquic.quic.packet import pull_quic_header

from telemetry_collector.clock import Clock, SystemClock
from telemetry_collector.component import BatchConsumer
from telemetry_collector.config.section import Address
from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.listeners.quic_aioquic.backlog import Backlog
from telemetry_collector.listeners.quic_aioquic.connection import AgentConnection, Phase
from telemetry_collector.listeners.quic_aioquic.datagrams import DatagramSocket, Path
from telemetry_collector.listeners.quic_aioquic.material import CONNECTION_ID_BYTES, identity_of
from telemetry_collector.listeners.quic_aioquic.newcomers import Newcomers
from telemetry_collector.listeners.quic_aioquic.slots import Slots
from telemetry_collector.listeners.quic_aioquic.transport import Transport
from telemetry_collector.listeners.quic_aioquic.trust import CurrentTrust, Trust
from telemetry_collector.listeners.quic_aioquic.waiting import Newcomer
from telemetry_collector.listeners.settings import QuicListenerSettings
from telemetry_collector.model import CloseCode
from telemetry_collector.observe.logs import logger
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.verifier import ClientVerifier

TRUST_CHECKS_AT_A_TIME = 50
"""Certificates verified before the loop gets its turn: some milliseconds."""

_TIMER_SLACK_SECS = 0.001

_log = logger(__name__)


class QuicListener:
    """Takes agents' connections and hands their streams to a consumer.

    Everything runs on one event loop. An error while handling a connection closes that connection and no other.
    """

    def __init__(
        self,
        settings: QuicListenerSettings,
        consumer: BatchConsumer,
        verifier: ClientVerifier,
        allowlist: AllowList,
        events: ListenerEvents,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._trust = CurrentTrust(Trust(verifier, allowlist))
        self._events = events
        self._clock = clock or SystemClock()
        self._slots = Slots(settings.connections_max, settings.connections_per_identity_max)
        # Connections by connection id, and each once with its timer.
        self._routes: dict[bytes, AgentConnection] = {}
        self._connections: dict[AgentConnection, _Timer] = {}
        self._backlog = Backlog()
        self._newcomers = Newcomers(settings, events, self._backlog)
        self._dirty: dict[AgentConnection, None] = {}
        self._flush_scheduled = False
        self._socket: DatagramSocket | None = None
        self._checker: asyncio.Task[None] | None = None
        self._flushed = asyncio.Event()
        self._stopping = asyncio.Lock()

    @property
    def address(self) -> Address:
        """Where it listens, with the port that the system chose. Only between `start` and `stop`."""
        if self._socket is None:
            raise RuntimeError("the listener is not started")
        return self._socket.address

    @property
    def connections(self) -> int:
        """Open connections that were let in."""
        return self._slots.taken

    async def start(self) -> None:
        """Begins to listen. CertificateError and AddressError say what is wrong."""
        self._loop = asyncio.get_running_loop()
        self._configuration, self._resets = identity_of(self._settings)
        self._socket = await DatagramSocket.bind(
            self._settings.address,
            receive_buffer_bytes=self._settings.receive_buffer_bytes,
            send_buffer_bytes=self._settings.send_buffer_bytes,
            events=self._events,
        )
        self._newcomers.start(self._socket, self._loop)
        self._events.started(self._settings.connections_max)
        self._socket.start(self._on_datagram, self._flush)
        self._checker = asyncio.create_task(self._check_trust_forever(), name="quic-listener-trust")
        _log.info("listening", address=str(self.address), protocol="quic")

    async def stop(self, timeout_secs: float = 10.0) -> None:
        """Lets nobody in, reads no more, sends the replies that become due within the time, says SHUTTING_DOWN to all.

        Idempotent, and safe before `start`. Cancelled, it waits for no replies; a second call returns with the first.
        """
        async with self._stopping:
            if self._socket is None:
                return
            self._newcomers.stop()
            if self._checker is not None:
                self._checker.cancel()
            try:
                await self._settle(timeout_secs)
            finally:
                for connection in list(self._connections):
                    connection.close(CloseCode.SHUTTING_DOWN)
                    self._transmit(connection)
                    self._forget(connection)
                self._socket.close()
                self._socket = None
                self._events.stopped()

    async def _settle(self, timeout_secs: float) -> None:
        """Until every batch that was handed over is answered."""
        for connection in self._connections:
            connection.stop_reading()
            self._wake(connection)
        try:
            async with asyncio.timeout(timeout_secs):
                while not all(connection.settled for connection in self._connections):
                    self._flushed.clear()
                    await self._flushed.wait()
        except TimeoutError:
            unsettled = sum(not connection.settled for connection in self._connections)
            _log.warning("listener_stopped_early", connections_with_replies_due=unsettled)

    async def reconfigure(self, settings: QuicListenerSettings, verifier: ClientVerifier, allowlist: AllowList) -> None:
        """From now on these decide, for open connections too: their number, how long they may be idle, whom is trusted.
        New handshakes show the certificate; address and buffers stay as they are. No connection is closed but those
        that are no longer trusted, also when there are more than there may be.

        CertificateError, and nothing has changed, when the certificate cannot be used.
        """
        self._configuration, self._resets = await asyncio.to_thread(identity_of, settings)
        self._settings = settings
        self._slots.slots_max = settings.connections_max
        self._slots.per_identity_max = settings.connections_per_identity_max
        self._newcomers.handshakes_max = settings.handshakes_max
        self._events.started(settings.connections_max)
        for connection in self._connections:
            if connection.allow_idle(settings.deadlines.idle):
                self._wake(connection)
        await self.update_trust(verifier, allowlist)

    async def update_trust(self, verifier: ClientVerifier, allowlist: AllowList) -> None:
        """From now on these decide. Returns when every open connection was judged by them anew."""
        self._trust.trust = Trust(verifier, allowlist)
        await self._check_trust()

    async def _check_trust_forever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.deadlines.expiry)
            try:
                await self._check_trust()
                if self._socket is not None:
                    self._socket.count_lost()
            except Exception:  # noqa: BLE001  # with this task's end certificates that run out would stay trusted
                _log.exception("trust_check_failed")

    async def _check_trust(self) -> None:
        for place, connection in enumerate(list(self._connections)):
            try:
                trusted = connection.check_trust()
            except Exception as error:  # noqa: BLE001  # see _receive; who cannot be checked is not trusted
                self._fail(connection, error)
            else:
                if not trusted:
                    self._wake(connection)
            if place % TRUST_CHECKS_AT_A_TIME == TRUST_CHECKS_AT_A_TIME - 1:
                await asyncio.sleep(0)

    # Datagrams in

    def _on_datagram(self, data: bytes, path: Path) -> None:
        if not data[0] & 0x80:
            connection = self._routes.get(data[1 : 1 + CONNECTION_ID_BYTES])
            if connection is None:
                self._reset(data, path)
                return
        else:
            connection = self._connection_of(data, path)
            if connection is None:
                return
        self._keep(connection, data, path)

    def _keep(self, connection: AgentConnection, data: bytes, path: Path) -> None:
        if not self._backlog.add(connection, data, path):
            self._events.datagram_dropped("backlog_full")

    def _receive(self, connection: AgentConnection, datagrams: list[tuple[bytes, Path]]) -> None:
        now = self._loop.time()
        try:
            for data, path in datagrams:
                connection.receive(data, path, now)
        except Exception as error:  # noqa: BLE001  # what one peer's datagram causes must end with that peer
            self._fail(connection, error)
        if connection.stillborn:
            # Nothing in it was a client's first packet: it must not take up a handshake's place until its deadline.
            self._events.datagram_dropped("garbage")
            self._newcomers.turned_away()
            self._forget(connection)

    def _reset(self, data: bytes, path: Path) -> None:
        """A peer believes in a connection that is not there, most likely one of before a restart."""
        self._events.datagram_dropped("unknown_connection")
        answer = self._resets.answer(data[1 : 1 + CONNECTION_ID_BYTES], len(data))
        if answer is not None and self._socket is not None:
            self._socket.send(answer, path)

    def _connection_of(self, data: bytes, path: Path) -> AgentConnection | None:
        """The connection of a datagram with a long header; of a newcomer None, which was taken care of."""
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=CONNECTION_ID_BYTES)
        except ValueError:
            self._events.datagram_dropped("garbage")
            return None
        connection = self._routes.get(header.destination_cid)
        if connection is None:
            newcomer = self._newcomers.judge(header, data, path, self._under_way, self._loop.time())
            if newcomer is not None:
                self._begin(newcomer)
        return connection

    @property
    def _under_way(self) -> int:
        """Connections that are not let in yet, or on their way out."""
        return len(self._connections) - self._slots.taken

    def _begin(self, newcomer: Newcomer) -> None:
        path = newcomer.datagrams[0][1]
        transport = Transport(
            configuration=self._configuration,
            verify=self._trust.verify,
            reset_token=self._resets.token,
            original_destination_connection_id=newcomer.original_id,
            retry_source_connection_id=newcomer.retry_id,
        )
        connection = AgentConnection(
            transport,
            str(path),
            consumer=self._consumer,
            trust=self._trust,
            slots=self._slots,
            deadlines=self._settings.deadlines,
            events=self._events,
            clock=self._clock,
            wake=self._wake,
            routes=self._routes,
            handshake_ended=newcomer.handshake_ended,
            now=self._loop.time(),
        )
        self._connections[connection] = _Timer()
        for data, each in newcomer.datagrams:
            self._keep(connection, data, each)

    # Datagrams out

    def _wake(self, connection: AgentConnection) -> None:
        self._dirty[connection] = None
        self._schedule_flush()

    def _schedule_flush(self) -> None:
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._on_scheduled)

    def _on_scheduled(self) -> None:
        # Only here: a wake-up of the socket flushes too, and must not have one more scheduled beside this one each
        # time, or the socket is read less and less often the more there is to do.
        self._flush_scheduled = False
        self._flush()

    def _flush(self) -> None:
        """Processes and transmits once for every connection that something happened to, in turns where much has."""
        # Replies first: they cost little, and somebody waits for them.
        dirty, self._dirty = self._dirty, {}
        for connection in dirty:
            self._process(connection)
        for connection, datagrams in self._backlog.turn():
            self._receive(connection, datagrams)
            self._process(connection)
        while (newcomer := self._newcomers.next(self._under_way, self._loop.time())) is not None:
            self._begin(newcomer)
        if self._backlog:
            # The socket is read in between, so that who comes now with little need not wait for the rest.
            self._schedule_flush()
        self._flushed.set()

    def _process(self, connection: AgentConnection) -> None:
        try:
            speaks = connection.process(self._loop.time())
        except Exception as error:  # noqa: BLE001  # see _receive
            self._fail(connection, error)
            speaks = True
        if speaks:
            self._transmit(connection)
        elif (timer := self._connections.get(connection)) is not None:
            self._arm(connection, timer)

    def _transmit(self, connection: AgentConnection) -> None:
        timer = self._connections.get(connection)
        if timer is None or self._socket is None:
            return
        try:
            for data, path in connection.transmit(self._loop.time()):
                self._socket.send(data, path)
            if connection.phase is not Phase.ENDED:
                self._arm(connection, timer)
                return
        except Exception as error:  # noqa: BLE001  # see _receive
            self._fail(connection, error)
            return
        self._forget(connection)

    def _arm(self, connection: AgentConnection, timer: _Timer) -> None:
        """Sees to it that the timer fires no later than the deadline. One that fires too early is armed again."""
        at = connection.deadline
        if at is None:
            timer.cancel()
        elif timer.handle is None or at < timer.at:
            timer.cancel()
            timer.at = at
            timer.handle = self._loop.call_at(at, self._on_timer, connection)

    def _on_timer(self, connection: AgentConnection) -> None:
        timer = self._connections.get(connection)
        if timer is None:
            return
        timer.handle = None
        now, at = self._loop.time(), connection.deadline
        if at is not None and at <= now + _TIMER_SLACK_SECS:
            try:
                # Loops round their timers; a moment too early must not become a spin until the deadline.
                connection.expire(max(now, at))
            except Exception as error:  # noqa: BLE001  # see _receive
                self._fail(connection, error)
            self._transmit(connection)
            self._flushed.set()
        else:
            self._arm(connection, timer)

    def _fail(self, connection: AgentConnection, error: Exception) -> None:
        """Closes a connection that could not be handled; when even that fails, drops it."""
        closing = connection.phase is not Phase.HANDSHAKING and connection.phase is not Phase.OPEN
        connection.fail(error)
        if closing:
            self._forget(connection)
        else:
            self._wake(connection)

    def _forget(self, connection: AgentConnection) -> None:
        timer = self._connections.pop(connection, None)
        if timer is not None:
            timer.cancel()
        self._backlog.forget(connection)
        connection.discard()
        if self._newcomers.waiting:
            self._schedule_flush()


class _Timer:
    __slots__ = ("at", "handle")

    def __init__(self) -> None:
        self.at = 0.0
        self.handle: asyncio.TimerHandle | None = None

    def cancel(self) -> None:
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None
