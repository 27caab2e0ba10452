"""What happens to requests: counters, and log lines where a person may want to know."""

from typing import Literal

from prometheus_client import CollectorRegistry

from telemetry_collector.clock import Clock
from telemetry_collector.observe.events import Event, Events
from telemetry_collector.observe.logs import logger
from telemetry_collector.observe.metrics import counter

Outcome = Literal[
    "stored", "partial", "rejected", "retry_later", "malformed", "too_large", "too_slow", "denied", "failed"
]
"""What became of a request.

`stored`: all of its points; `partial`: some, the others are refused for good; `rejected`: none, for good;
`retry_later`: there is no room now; `malformed`: it cannot be read; `too_large`: more bytes than a request may have;
`too_slow`: it did not come within its time, and may be sent again; `denied`: its sender may not; `failed`: for a fault
of ours.
"""
FAULT = "a fault of the collector, which its log tells of"
"""What a client is told of that."""
HandshakeFault = Literal["untrusted", "no_certificate", "refused_by_client", "not_tls", "left"]
"""Why TLS failed: the client's certificate is of nobody who is trusted here, or missing; the client did not take ours;
it speaks no TLS, or none that is spoken here; it left or took too long."""

_ANSWERED = Event("requests", "Requests answered", labels=("receiver", "outcome"), level="debug", every_secs=60.0)
_REFUSED = Event(
    "requests_refused",
    "Requests of which not all was taken, for their contents or sender",
    labels=("receiver", "outcome"),
    level="warning",
    every_secs=10.0,
)
_FAILED = Event("request_errors", "Requests that failed for a fault of ours", labels=("receiver",), level="error")
_UNACCOUNTED = Event(
    "request_points_unaccounted",
    "Points of requests that were neither stored nor refused, for a fault of ours; told as refused",
    labels=("receiver",),
    level="error",
    every_secs=10.0,
)
_UNREACHABLE = Event(
    "scrapes_failed", "Turns of targets that could not be read", labels=("job",), level="warning", every_secs=60.0
)
_HANDSHAKES_FAILED = Event(
    "request_handshakes_failed",
    "Clients of receivers whose TLS handshake failed",
    labels=("receiver", "reason"),
    level="warning",
    every_secs=10.0,
)
_TURNED_AWAY = Event(
    "request_connections_turned_away",
    "Connections of receivers that were closed for being too many, of all or of one address",
    labels=("receiver",),
    level="warning",
    every_secs=10.0,
)
_NOT_ACCEPTED = Event(
    "request_accepts_failed",
    "Times that the system could not hand over a connection",
    labels=("receiver",),
    level="error",
    every_secs=60.0,
)
_FAULTS: frozenset[Outcome] = frozenset({"partial", "rejected", "malformed", "too_large", "too_slow", "denied"})


class RequestEvents:
    """The counters and log lines of all receivers; one instance a registry."""

    def __init__(self, registry: CollectorRegistry, clock: Clock | None = None) -> None:
        self._events = Events(registry, logger(__name__), clock)
        self._events.declare(_ANSWERED, _REFUSED, _FAILED, _UNACCOUNTED, _UNREACHABLE)
        self._events.declare(_HANDSHAKES_FAILED, _TURNED_AWAY, _NOT_ACCEPTED)
        self._bytes = counter(registry, "request_bytes_received", "Bytes of requests, as they came", ("receiver",))
        self._points = counter(
            registry, "request_points_accepted", "Points of requests that were stored", ("receiver",)
        )
        self._rows = counter(
            registry,
            "request_rows_accepted",
            "Spans and log records of requests that were stored",
            ("receiver", "signal"),
        )
        self.points_accepted = 0
        """Of all receivers."""
        self._left_out = counter(
            registry, "request_parts_left_out", "What requests had that has no place in a point", ("receiver", "kind")
        )

    def received(self, receiver: str, size: int) -> None:
        """A request's body came."""
        self._bytes.labels(receiver).inc(size)

    def answered(self, receiver: str, outcome: Outcome, problem: str = "", peer: str = "") -> None:
        """A request was answered; `problem` is what its sender was told."""
        self._events.happened(_ANSWERED, receiver=receiver, outcome=outcome)
        if outcome in _FAULTS:
            self._events.happened(_REFUSED, receiver=receiver, outcome=outcome, problem=problem, peer=peer)

    def accepted(self, receiver: str, signal: str, points: int) -> None:
        """Points, spans or log records of a request are on stable storage."""
        if signal != "metrics":
            self._rows.labels(receiver, signal).inc(points)
            return
        self._points.labels(receiver).inc(points)
        self.points_accepted += points

    def left_out(self, receiver: str, kind: str, count: int) -> None:
        """Exemplars, values that are none, texts."""
        self._left_out.labels(receiver, kind).inc(count)

    def unaccounted(self, receiver: str, points: int) -> None:
        """A defect: so many points of a request were neither stored nor refused."""
        self._events.happened(_UNACCOUNTED, points, receiver=receiver)

    def unreachable(self, job: str, target: str, problem: str) -> None:
        """A target could not be read this time."""
        self._events.happened(_UNREACHABLE, job=job, target=target, problem=problem)

    def handshake_failed(self, receiver: str, client: str, reason: HandshakeFault, problem: str) -> None:
        """A client did not get through TLS; `client` is its address."""
        self._events.happened(_HANDSHAKES_FAILED, receiver=receiver, reason=reason, client=client, problem=problem)

    def turned_away(self, receiver: str, client: str) -> None:
        """There is no connection left for this address."""
        self._events.happened(_TURNED_AWAY, receiver=receiver, client=client)

    def not_accepted(self, receiver: str, error: OSError) -> None:
        """No connection could be accepted, for want of descriptors or memory."""
        self._events.happened(_NOT_ACCEPTED, receiver=receiver, error=str(error))

    def failed(self, receiver: str, error: BaseException) -> None:
        """A defect: the request is answered with the protocol's own word for it."""
        self._events.happened(_FAILED, receiver=receiver, error=f"{type(error).__name__}: {error}")

    def stopped(self) -> None:
        """The last word: what was counted and not told yet."""
        self._events.finish()
