"""What happens at a listener: each event is one counter and, where a person may want to know, one log line.

Lines that strangers can cause are told once in a while, with how often it happened. Those of agents that proved their
certificate are told each time.
"""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from telemetry_collector.clock import Clock
from telemetry_collector.model import CloseCode
from telemetry_collector.observe.events import Event, Events
from telemetry_collector.observe.logs import logger
from telemetry_collector.observe.metrics import counter, gauge

_OPENED = Event("connections_opened", "Connections let in")
_CLOSED = Event("connections_closed", "Connections that were let in and ended", labels=("code", "side"))
_REFUSED = Event("connections_refused", "Connections not let in", labels=("reason",), level="warning", every_secs=10.0)
_HANDSHAKE_FAILED = Event(
    "handshakes_failed", "Handshakes that did not complete", labels=("alert",), level="warning", every_secs=10.0
)
_STREAM_FAILED = Event(
    "streams_failed", "Streams ended before their time", labels=("code",), level="warning", every_secs=1.0
)
_HANDLER_FAILED = Event(
    "connection_errors", "Connections closed because handling them raised an error", level="error", every_secs=1.0
)
_DROPPED = Event("datagrams_dropped", "Datagrams thrown away", labels=("reason",), level="debug", every_secs=60.0)

_KINDS = {
    "opened": _OPENED,
    "closed": _CLOSED,
    "refused": _REFUSED,
    "handshake_failed": _HANDSHAKE_FAILED,
    "stream_failed": _STREAM_FAILED,
    "handler_failed": _HANDLER_FAILED,
}


class ListenerEvents:
    """The counters and log lines of one listener; one instance a registry."""

    def __init__(self, registry: CollectorRegistry, clock: Clock | None = None) -> None:
        self._events = Events(registry, logger(__name__), clock)
        self._events.declare(_OPENED, _CLOSED, _REFUSED, _HANDSHAKE_FAILED, _STREAM_FAILED, _HANDLER_FAILED, _DROPPED)
        self._connections = gauge(registry, "connections", "Open connections that were let in")
        self._connections_max = gauge(registry, "connections_max", "server.max_connections")
        self._streams = counter(registry, "streams_opened", "Streams on which agents sent something")
        self._frames = counter(registry, "frames_received", "Whole frames received")
        self._bytes = counter(registry, "stream_bytes_received", "Bytes of streams that were handed on")
        self._retries = counter(registry, "retry_packets_sent", "Newcomers told to prove their address first")
        self._passing = gauge(
            registry, "newcomers_passing_ratio", "Share of first datagrams that the kernel lets through"
        )
        self._passing.set(1.0)
        self._waiting = gauge(
            registry, "newcomers_waiting", "Newcomers that proved their address and wait to begin their handshake"
        )
        self._datagrams = counter(registry, "datagrams_received", "Datagrams received")

    def started(self, connections_max: int) -> None:
        """The listener takes so many connections at a time."""
        self._connections_max.set(connections_max)

    def stopped(self) -> None:
        """The last word: what was counted and not told yet."""
        self._events.finish()

    def datagrams_received(self, count: int) -> None:
        """Datagrams were read from the socket."""
        self._datagrams.inc(count)

    def datagram_dropped(self, reason: str, count: int = 1) -> None:
        """One was thrown away, or more: garbage, of no connection, or not taken by the system when sending."""
        self._events.happened(_DROPPED, amount=count, reason=reason)

    def retry_sent(self, count: int = 1) -> None:
        """A newcomer was sent away for a token, or more."""
        self._retries.inc(count)

    def datagrams_lost(self, count: int) -> None:
        """The system dropped datagrams before they could be read."""
        self._events.happened(_DROPPED, amount=count, reason="kernel")

    def newcomers_passing(self, share: float) -> None:
        """Of first datagrams, the system lets this share through."""
        self._passing.set(share)

    def newcomers_waiting(self, count: int) -> None:
        """So many newcomers wait for a handshake's place."""
        self._waiting.set(count)

    def stream_opened(self, count: int = 1) -> None:
        """A peer sent its first bytes on a new stream, or on more."""
        self._streams.inc(count)

    def stream_received(self, size: int, frames: int) -> None:
        """Bytes of a stream were handed on, and completed so many frames."""
        self._bytes.inc(size)
        if frames:
            self._frames.inc(frames)

    def stream_failed(self, code: CloseCode, peer: str, identity: str) -> None:
        """A stream was ended before its time."""
        self._events.happened(_STREAM_FAILED, code=code.label, peer=peer, identity=identity)

    def connection_opened(self, peer: str, identity: str, *, relay: bool) -> None:
        """A peer proved its certificate and was let in."""
        self._connections.inc()
        self._events.happened(_OPENED, peer=peer, identity=identity, relay=relay)

    def connection_closed(self, code: str, side: str, peer: str, identity: str, frames: int, words: str) -> None:
        """A connection that was let in ended; `side` is who ended it: collector, agent or network."""
        self._connections.dec()
        self._events.happened(_CLOSED, code=code, side=side, peer=peer, identity=identity, frames=frames, words=words)

    def connection_refused(self, reason: str, peer: str, identity: str | None = None) -> None:
        """A peer was not let in, for a reason that is not its certificate."""
        self._events.happened(_REFUSED, reason=reason, peer=peer, identity=identity)

    def handshake_failed(self, alert: str, peer: str, problem: str) -> None:
        """A peer was refused by TLS, gave up, or took too long."""
        self._events.happened(_HANDSHAKE_FAILED, alert=alert, peer=peer, problem=problem)

    def missed(self, kind: str, labels: Sequence[str], count: int) -> None:
        """Events that came too many at a time to be told one by one: counted as ever, and told as one line."""
        if kind in ("opened", "closed"):
            self._connections.inc(count if kind == "opened" else -count)
        event = _KINDS[kind]
        self._events.happened(event, amount=count, **dict(zip(event.labels, labels, strict=True)))

    def handler_failed(self, peer: str, identity: str | None, error: Exception) -> None:
        """Handling one connection raised an error, a fault of ours; that connection is closed, no other."""
        self._events.happened(_HANDLER_FAILED, peer=peer, identity=identity, exc_info=error)
