"""One agent's connection, without I/O: datagrams and the time go in, datagrams and a deadline come out.

    handshaking ──► open ──► closing ──► ended
         └─────────────────────┘

Only an open connection has streams and holds a slot. The listener calls `receive` for each datagram, then once
`process` and `transmit`; `expire` when the deadline has come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum

from aioquic.quic import events as quic
from aioquic.quic.connection import NetworkAddress

from telemetry_collector.clock import Clock
from telemetry_collector.component import BatchConsumer
from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.listeners.quic_aioquic.ending import DROPPED, Ending, Farewell, describe
from telemetry_collector.listeners.quic_aioquic.slots import Slots
from telemetry_collector.listeners.quic_aioquic.stream import AgentStream
from telemetry_collector.listeners.quic_aioquic.transport import Transport
from telemetry_collector.listeners.quic_aioquic.trust import CurrentTrust
from telemetry_collector.listeners.settings import Deadlines
from telemetry_collector.model import CloseCode
from telemetry_collector.security.identity import Identity
from telemetry_collector.security.refusal import CertificateRefused

Datagrams = list[tuple[bytes, NetworkAddress]]


class Phase(Enum):
    """Where a connection is in its life."""

    HANDSHAKING = 0
    OPEN = 1
    CLOSING = 2
    ENDED = 3


class AgentConnection:
    """The server's end of a connection: who the peer is, its streams, its deadlines."""

    def __init__(
        self,
        transport: Transport,
        peer: str,
        *,
        consumer: BatchConsumer,
        trust: CurrentTrust,
        slots: Slots,
        deadlines: Deadlines,
        events: ListenerEvents,
        clock: Clock,
        wake: Callable[[AgentConnection], None],
        routes: dict[bytes, AgentConnection],
        handshake_ended: Callable[[], None],
        now: float,
    ) -> None:
        """`wake` is called when replies became ready: the listener then calls `process` and `transmit`.

        `routes` leads from connection ids to connections; this one keeps its own entries, eight at most beside the
        transport's `first_ids`, until it has ended. `handshake_ended` is called when its handshake is over, however
        it went, perhaps more than once.
        """
        self.peer = peer
        self.phase = Phase.HANDSHAKING
        self.identity: Identity | None = None
        self._transport = transport
        self._consumer = consumer
        self._trust = trust
        self._slots = slots
        self._deadlines = deadlines
        self._events = events
        self._clock = clock
        self._wake = wake
        self._routes = routes
        self._handshake_ended = handshake_ended
        self._ids = {transport.host_cid, *transport.first_ids}
        routes.update(dict.fromkeys(self._ids, self))
        self._reading = True
        self._relay = False
        self._trusted_under = trust.trust
        self._streams: dict[int, AgentStream] = {}
        self._frames = 0
        self._expires_unix_secs = 0.0
        # The end of the handshake, then the next whole frame.
        self._due = now + deadlines.handshake
        self._farewell = Farewell()

    @property
    def stillborn(self) -> bool:
        """Whether the datagram that it was made for held no packet that could be read."""
        return self._transport.unborn

    @property
    def settled(self) -> bool:
        """Every batch that was handed over is answered and the answer is sent."""
        return all(stream.settled for stream in self._streams.values())

    @property
    def deadline(self) -> float | None:
        """When to call `expire`; None when never again."""
        at = self._transport.get_timer()
        if self.phase is Phase.ENDED or at is None:
            return None
        if self.phase in (Phase.HANDSHAKING, Phase.OPEN):
            at = min(at, self._due)
            for stream in self._streams.values():
                due = stream.deadline
                if due is not None and due < at:
                    at = due
        return at

    def receive(self, data: bytes, address: NetworkAddress, now: float) -> None:
        """A datagram arrived for this connection."""
        if self.phase is Phase.CLOSING:
            self._farewell.missed()
        self._transport.receive_datagram(data, address, now)

    def process(self, now: float) -> bool:
        """Acts on what arrived, and on replies that became ready. Whether to `transmit` now, rather than at the
        deadline."""
        event = self._transport.next_event()
        while event is not None:
            self._on_event(event, now)
            event = self._transport.next_event()
        wrote = self._advance(now)
        self._notice_end()
        if wrote or self.phase is not Phase.OPEN:
            return True
        mid_frame = any(stream.mid_frame for stream in self._streams.values())
        return not self._transport.can_wait(now, replies_follow=not mid_frame)

    def transmit(self, now: float) -> Datagrams:
        """The datagrams to send now."""
        if self.phase is Phase.ENDED:
            return []
        datagrams = self._transport.datagrams_to_send(now)
        # Sending made room for replies that waited for it.
        while self._advance(now):
            datagrams += self._transport.datagrams_to_send(now)
        for stream in self._streams.values():
            stream.transmitted(now)
        self._notice_end()
        if self.phase is Phase.CLOSING:
            return self._farewell.say(datagrams)
        return datagrams

    def expire(self, now: float) -> None:
        """The deadline has come."""
        at = self._transport.get_timer()
        if at is not None and at <= now:
            self._transport.handle_timer(now)
        if self.phase in (Phase.HANDSHAKING, Phase.OPEN) and self._due <= now:
            self.close(CloseCode.TIMED_OUT, "handshake" if self.phase is Phase.HANDSHAKING else "no frame")
        for stream in list(self._streams.values()):
            code = stream.expired(now)
            if code is not None:
                self.close(code, "replies were not taken")
            self._report(stream)
        self.process(now)

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Ends the connection. Nothing that arrives from now on is read."""
        self._transport.close(error_code=code, reason_phrase=reason)
        self._notice_end()

    def fail(self, error: Exception) -> None:
        """Handling it raised an error: it is closed with the transport's internal error."""
        self._events.handler_failed(self.peer, self.identity.name if self.identity else None, error)
        self._transport.abort()
        self._notice_end()

    def discard(self) -> None:
        """Frees it at once, without a word to the peer."""
        self._handshake_ended()
        if not self.stillborn:
            self._leave(DROPPED)
        self.phase = Phase.ENDED
        for connection_id in self._ids:
            self._routes.pop(connection_id, None)
        self._ids.clear()

    def stop_reading(self) -> None:
        """What arrives from now on is not handed over; replies due are still sent."""
        self._reading = False

    def allow_idle(self, idle_secs: float) -> bool:
        """From now on it may be without a frame for so long; whether that is another time than before.

        What the transport told the peer in the handshake stays: it concerns only a peer that sends no packet at all.
        """
        longer_secs = idle_secs - self._deadlines.idle
        self._deadlines = replace(self._deadlines, idle=idle_secs)
        if self.phase is Phase.OPEN:
            self._due += longer_secs
        return longer_secs != 0

    def check_trust(self) -> bool:
        """Closes an open connection whose certificate or identity no longer counts, or ran out; False when it did."""
        if self.phase is not Phase.OPEN or self.identity is None:
            return True
        trust = self._trust.trust
        if trust is not self._trusted_under:
            self._trusted_under = trust
            certificate = self._transport.peer_certificate
            assert certificate is not None, "the handshake does not complete without one"
            try:
                trust.verifier.verify(certificate, self._transport.peer_intermediates)
            except CertificateRefused as refusal:
                self.close(CloseCode.REVOKED, refusal.alert.name.lower())
                return False
            relay = trust.allowlist.is_relay(self.identity.name)
            if not trust.allowlist.allows(self.identity.name):
                self.close(CloseCode.REVOKED, "no longer allowed")
            elif self._relay and not relay:
                # Its conversations were begun with a right that it has lost.
                self.close(CloseCode.REVOKED, "no longer a relay")
            self._relay = relay
        elif self._expires_unix_secs <= self._clock.unix_secs():
            self.close(CloseCode.REVOKED, "certificate expired")
        return self._transport.closing is None

    def _on_event(self, event: quic.QuicEvent, now: float) -> None:
        match event:
            case quic.StreamDataReceived():
                self._on_data(event.stream_id, event.data, finished=event.end_stream)
            case quic.StreamReset():
                self._on_data(event.stream_id, b"", finished=True)
            case quic.StopSendingReceived():
                if event.stream_id in self._streams:
                    # It wants no replies, and without them it may send nothing.
                    self._streams[event.stream_id].end(CloseCode.NORMAL)
            case quic.HandshakeCompleted():
                self._on_handshake(now)
            case quic.ConnectionIdIssued():
                self._ids.add(event.connection_id)
                self._routes[event.connection_id] = self
            case quic.ConnectionIdRetired():
                self._ids.discard(event.connection_id)
                self._routes.pop(event.connection_id, None)
            case quic.ConnectionTerminated():
                self._notice_end()
                self.discard()
            case _:
                # Nothing to do for what TLS negotiated, for pings and the like.
                pass

    def _on_handshake(self, now: float) -> None:
        self._handshake_ended()
        certificate = self._transport.peer_certificate
        assert certificate is not None, "the handshake does not complete without one"
        identity = self.identity = Identity.of(certificate)
        self._expires_unix_secs = certificate.not_valid_after_utc.timestamp()
        trust = self._trust.trust
        if identity is None or not trust.allowlist.allows(identity.name):
            self._refuse(CloseCode.NOT_ALLOWED)
        elif (full := self._slots.take(identity.name)) is not None:
            self._refuse(CloseCode.TOO_MANY_CONNECTIONS, full)
        else:
            self._relay = trust.allowlist.is_relay(identity.name)
            self._due = now + self._deadlines.idle
            self.phase = Phase.OPEN
            self._events.connection_opened(self.peer, identity.name, relay=self._relay)
            # The list may have changed between its Certificate message and this moment.
            self.check_trust()

    def _refuse(self, code: CloseCode, reason: str | None = None) -> None:
        self._events.connection_refused(reason or code.label, self.peer, self.identity.name if self.identity else None)
        self.phase = Phase.CLOSING
        self.close(code)

    def _on_data(self, stream_id: int, data: bytes, *, finished: bool) -> None:
        if self.phase is not Phase.OPEN:
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            if self._transport.is_unwanted(stream_id):
                # It wanted no replies before it sent anything: there is nothing to begin.
                self._transport.refuse_stream(stream_id, CloseCode.NORMAL)
                return
            self._forget_finished()
            stream = self._streams[stream_id] = self._open_stream(stream_id)
        stream.take(data, finished=finished)

    def _open_stream(self, stream_id: int) -> AgentStream:
        assert self.identity is not None, "an open connection has an identity"
        conversation = self._consumer.conversation(
            self.identity.name, self.identity.node, relay=self._relay, ready=lambda: self._wake(self)
        )
        self._events.stream_opened()
        return AgentStream(stream_id, self._transport, conversation, self._deadlines, self._events)

    def _forget_finished(self) -> None:
        # A stream's entry outlives it until another is opened, so that late data of it cannot open it a second time.
        for stream_id in [number for number in self._streams if not self._transport.is_live(number)]:
            self._transport.unread.pop(stream_id, None)
            del self._streams[stream_id]

    def _advance(self, now: float) -> bool:
        """Lets every stream go on; whether one has something new to send."""
        wrote = False
        if self.phase is not Phase.OPEN:
            return wrote
        unix_ns = self._clock.unix_ns()
        for stream in list(self._streams.values()):
            if stream.over:
                continue
            written, frames = self._transport.written(stream.stream_id), stream.frames
            code = stream.advance(now, unix_ns, reading=self._reading)
            wrote = wrote or stream.over or self._transport.written(stream.stream_id) > written
            if stream.frames > frames:
                self._frames += stream.frames - frames
                self._due = now + self._deadlines.idle
            self._report(stream)
            if code is not None:
                self.close(code)
                return True
        return wrote

    def _report(self, stream: AgentStream) -> None:
        if stream.failed is not None:
            code, stream.failed = stream.failed, None
            self._events.stream_failed(code, self.peer, self.identity.name if self.identity else "")

    def _notice_end(self) -> None:
        closing = self._transport.closing
        if closing is not None:
            self._leave(describe(closing, here=self._transport.closed_here, lost=self._transport.lost))

    def _leave(self, ending: Ending) -> None:
        if self.phase is Phase.OPEN and self.identity is not None:
            self._slots.give_back(self.identity.name)
            self._events.connection_closed(
                ending.code, ending.side, self.peer, self.identity.name, self._frames, ending.reason
            )
        elif self.phase is Phase.HANDSHAKING:
            self._handshake_ended()
            refusal = self._transport.refusal
            self._events.handshake_failed(ending.code, self.peer, str(refusal) if refusal else ending.reason)
        else:
            return
        self.phase = Phase.CLOSING
        # Conversations live as long as they are held here.
        self._streams.clear()
