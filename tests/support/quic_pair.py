"""An agent's end and a collector's end of one connection in memory, in virtual time: no socket, no loop, no waiting."""

from __future__ import annotations

from collections.abc import Callable

from aioquic.quic import events as quic
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicProtocolVersion
from prometheus_client import CollectorRegistry
from tests.support.certificates import SERVER, Authority, Credentials, pem
from tests.support.consumer import FakeConsumer

from telemetry_collector.clock import ManualClock
from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.listeners.quic_aioquic.connection import AgentConnection, Phase
from telemetry_collector.listeners.quic_aioquic.slots import Slots
from telemetry_collector.listeners.quic_aioquic.transport import (
    CONNECTION_WINDOW_BYTES,
    STREAM_WINDOW_BYTES,
    Transport,
)
from telemetry_collector.listeners.quic_aioquic.trust import CurrentTrust, Trust
from telemetry_collector.listeners.reset import ResetTokens
from telemetry_collector.listeners.settings import Deadlines
from telemetry_collector.model import ALPN
from telemetry_collector.security.allowlist import AllowList
from telemetry_collector.security.revocation import RevocationLists
from telemetry_collector.security.verifier import ClientVerifier

AGENT = ("10.0.0.1", 40_000)
COLLECTOR = ("10.0.0.2", 5_001)
NODE_URI = "spiffe://fleet/node-1"


def agent_configuration(
    authority: Authority, credentials: Credentials | None, *, alpn: str = ALPN, **options: object
) -> QuicConfiguration:
    """How an agent connects; without credentials it shows no certificate."""
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=[alpn],
        cadata=pem(authority.certificate),
        server_name="collector",
        idle_timeout=3_600.0,
        supported_versions=[QuicProtocolVersion.VERSION_1],
        **options,  # type: ignore[arg-type]
    )
    if credentials is not None:
        configuration.certificate = credentials.certificate
        configuration.certificate_chain = list(credentials.intermediates)
        configuration.private_key = credentials.key
    return configuration


class Pair:
    """Both ends, and the wire between them, which loses nothing unless `wire` says so."""

    def __init__(
        self,
        authority: Authority,
        credentials: Credentials | None = None,
        *,
        consumer: FakeConsumer | None = None,
        allowlist: AllowList | None = None,
        revocations: RevocationLists | None = None,
        slots: Slots | None = None,
        deadlines: Deadlines | None = None,
        configuration: QuicConfiguration | None = None,
    ) -> None:
        self.authority = authority
        self.credentials = credentials or authority.issue(uri=NODE_URI)
        self.consumer = consumer or FakeConsumer()
        self.clock = ManualClock(authority.now.timestamp())
        self.registry = CollectorRegistry()
        self.slots = slots or Slots(10)
        self.trust = CurrentTrust(
            Trust(
                ClientVerifier([authority.certificate], revocations, clock=self.clock),
                allowlist or AllowList(),
            )
        )
        self.wire: Callable[[bytes], bool] = lambda _: True
        """Whether a datagram of the collector gets through."""
        self.heard: list[quic.QuicEvent] = []
        """What the agent's transport told."""
        self.woken = False
        self.resets = ResetTokens(b"the collector's key")
        self.routes: dict[bytes, AgentConnection] = {}
        self.agent = QuicConnection(configuration=configuration or agent_configuration(authority, self.credentials))
        self.agent.connect(COLLECTOR, self.now)
        server = authority.issue(dns="collector", usages=SERVER)
        collector = QuicConfiguration(
            is_client=False,
            alpn_protocols=[ALPN],
            certificate=server.certificate,
            private_key=server.key,
            max_data=CONNECTION_WINDOW_BYTES,
            max_stream_data=STREAM_WINDOW_BYTES,
            idle_timeout=(deadlines or Deadlines()).idle + 10,
        )
        self.transport = Transport(
            configuration=collector,
            verify=self.trust.verify,
            reset_token=self.resets.token,
            original_destination_connection_id=self.agent.original_destination_connection_id,
        )
        self.collector = AgentConnection(
            self.transport,
            "10.0.0.1:40000",
            consumer=self.consumer,
            trust=self.trust,
            slots=self.slots,
            deadlines=deadlines or Deadlines(),
            events=ListenerEvents(self.registry, self.clock),
            clock=self.clock,
            wake=self._wake,
            routes=self.routes,
            handshake_ended=lambda: None,
            now=self.now,
        )

    @property
    def now(self) -> float:
        """Virtual time; both ends began at 1000."""
        return 1_000.0 + self.clock.monotonic()

    @property
    def open(self) -> bool:
        """Whether the collector let the agent in and neither side ended it."""
        return self.collector.phase is Phase.OPEN

    def _wake(self, connection: AgentConnection) -> None:
        assert connection is self.collector
        self.woken = True

    def connect(self) -> Pair:
        """Runs the handshake."""
        self.run()
        return self

    def send(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """The agent sends, and both ends go on until they have nothing more to say."""
        self.agent.send_stream_data(stream_id, data, end_stream=end)
        self.run()

    def run(self) -> None:
        """Carries datagrams, and time where a transport waits for a moment, until both ends are quiet."""
        for _ in range(10_000):
            while self.exchange():
                pass
            # Delayed acknowledgements and pacing: milliseconds. Longer waits are the tests' own to take.
            timers = [at for at in (self.agent.get_timer(), self.collector.deadline) if at is not None]
            if not timers or min(timers) > self.now + 0.005:
                return
            self._step(max(min(timers) - self.now, 0.0001))
        raise AssertionError("the two ends never fall silent")

    def exchange(self) -> bool:
        """One round each way; whether anything was said."""
        said = self.agent.datagrams_to_send(self.now)
        for data, _ in said:
            self.collector.receive(data, AGENT, self.now)
        self.collector.process(self.now)
        answered = self.collector.transmit(self.now)
        for data, _ in answered:
            if self.wire(data):
                self.agent.receive_datagram(data, COLLECTOR, self.now)
        while (event := self.agent.next_event()) is not None:
            self.heard.append(event)
        return bool(said or answered)

    def advance(self, secs: float) -> None:
        """Lets time pass, timers included."""
        end = self.now + secs
        while self.now < end:
            self.run()
            timers = [at for at in (self.agent.get_timer(), self.collector.deadline) if at is not None]
            self._step(max(min([end, *timers]) - self.now, 0.0001))
        self.run()

    def _step(self, secs: float) -> None:
        self.clock.advance(secs)
        agent, collector = self.agent.get_timer(), self.collector.deadline
        if agent is not None and agent <= self.now:
            self.agent.handle_timer(self.now)
        if collector is not None and collector <= self.now:
            self.collector.expire(self.now)

    def commit(self) -> None:
        """The consumer's commit makes replies ready; the collector sends them."""
        self.woken = False
        self.consumer.commit()
        self.run()

    def received(self, stream_id: int) -> bytes:
        """What the agent has read on a stream."""
        return b"".join(
            event.data
            for event in self.heard
            if isinstance(event, quic.StreamDataReceived) and event.stream_id == stream_id
        )

    def ended(self, stream_id: int) -> bool:
        """Whether the collector finished its side of a stream."""
        return any(
            isinstance(event, quic.StreamDataReceived) and event.stream_id == stream_id and event.end_stream
            for event in self.heard
        )

    @property
    def closed(self) -> tuple[int, bool] | None:
        """With what code the connection ended for the agent, and whether it is an application's."""
        closing = self.agent._close_event
        return None if closing is None else (int(closing.error_code), closing.frame_type is None)

    def count(self, name: str, **labels: str) -> float:
        """A metric's value; 0 when it never counted."""
        return self.registry.get_sample_value(f"telemetry_collector_{name}", labels) or 0.0
