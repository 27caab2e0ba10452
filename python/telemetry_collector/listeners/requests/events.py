"""What happens to requests: counters, and log lines where a person may want to know."""

from typing import Literal

from prometheus_client import CollectorRegistry

from telemetry_collector.clock import Clock
from telemetry_collector.observe.events import Event, Events
from telemetry_collector.observe.logs import logger
from telemetry_collector.observe.metrics import counter

Outcome = Literal["stored", "partial", "rejected", "retry_later", "malformed", "too_large", "denied", "failed"]
"""What became of a request.

`stored`: all of its points; `partial`: some, the others are refused for good; `rejected`: none, for good;
`retry_later`: there is no room now; `malformed`: it cannot be read; `too_large`: more bytes than a request may have;
`denied`: its sender may not; `failed`: for a fault of ours.
"""

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
_FAULTS: frozenset[Outcome] = frozenset({"partial", "rejected", "malformed", "too_large", "denied"})


class RequestEvents:
    """The counters and log lines of all receivers; one instance a registry."""

    def __init__(self, registry: CollectorRegistry, clock: Clock | None = None) -> None:
        self._events = Events(registry, logger(__name__), clock)
        self._events.declare(_ANSWERED, _REFUSED, _FAILED, _UNACCOUNTED, _UNREACHABLE)
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

    def failed(self, receiver: str, error: Exception) -> None:
        """A defect: the request is answered with the protocol's own word for it."""
        self._events.happened(_FAILED, receiver=receiver, error=f"{type(error).__name__}: {error}")

    def stopped(self) -> None:
        """The last word: what was counted and not told yet."""
        self._events.finish()
