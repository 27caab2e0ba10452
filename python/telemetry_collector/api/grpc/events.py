"""What happens to calls: counters, and log lines where a person may want to know."""

from prometheus_client import CollectorRegistry

from telemetry_collector.clock import Clock
from telemetry_collector.observe.events import Event, Events
from telemetry_collector.observe.logs import logger
from telemetry_collector.observe.metrics import counter, histogram

_ANSWERED = Event("grpc_calls", "Calls answered", labels=("method", "code"), level="debug", every_secs=60.0)
_REFUSED = Event(
    "grpc_calls_refused",
    "Calls answered with a status that is their client's or its site's to mend",
    labels=("method", "code"),
    level="warning",
    every_secs=10.0,
)
_FAILED = Event("grpc_call_errors", "Calls that failed for a fault of ours", labels=("method",), level="error")
_NOBODYS_FAULT = frozenset({"OK", "CANCELLED", "NOT_FOUND"})


class GrpcEvents:
    """The counters and log lines of the service; one instance a registry."""

    def __init__(self, registry: CollectorRegistry, clock: Clock | None = None) -> None:
        self._events = Events(registry, logger(__name__), clock)
        self._events.declare(_ANSWERED, _REFUSED, _FAILED)
        self._points = counter(registry, "grpc_points_accepted", "Points of calls that were stored")
        self.points_accepted = 0
        """As the counter has it."""
        self._latency = histogram(registry, "grpc_call_latency_seconds", "Time until a call was answered", ("method",))

    def answered(self, method: str, code: str, secs: float, problem: str = "", peer: str = "") -> None:
        """A call ended with this status; `problem` is what its client was told."""
        self._latency.labels(method).observe(secs)
        self._events.happened(_ANSWERED, method=method, code=code)
        if code not in _NOBODYS_FAULT:
            self._events.happened(_REFUSED, method=method, code=code, problem=problem, peer=peer)

    def accepted(self, points: int) -> None:
        """Points of a batch are on stable storage."""
        self._points.inc(points)
        self.points_accepted += points

    def failed(self, method: str, error: Exception) -> None:
        """A defect, or a fault of the site: the client hears INTERNAL."""
        self._events.happened(_FAILED, method=method, error=f"{type(error).__name__}: {error}")

    def stopped(self) -> None:
        """The last word: what was counted and not told yet."""
        self._events.finish()
