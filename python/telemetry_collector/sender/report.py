"""A sender's events as log lines and counters, and its statistics as metrics."""

from collections.abc import Callable, Iterator
from dataclasses import asdict

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from telemetry_collector.clock import Clock
from telemetry_collector.observe.events import Event, Events
from telemetry_collector.observe.logs import logger
from telemetry_collector.observe.metrics import PREFIX
from telemetry_collector.sender import events
from telemetry_collector.sender.stats import SenderStats

log = logger(__name__)

_OFTEN_SECS = 30.0

CONNECTED = Event("sender_connects", "Connections to a collector that became good")
DISCONNECTED = Event("sender_disconnects", "Good connections to a collector that ended", level="warning")
CONNECT_FAILED = Event(
    "sender_connect_failures",
    "Attempts to reach a collector that failed",
    labels=("collector",),
    level="warning",
    every_secs=_OFTEN_SECS,
)
REFUSED = Event(
    "sender_points_refused",
    "Points that the collector refused for good",
    labels=("reason",),
    level="warning",
    every_secs=_OFTEN_SECS,
)
DROPPED = Event(
    "sender_points_dropped",
    "Points given up before they were acknowledged",
    labels=("reason",),
    level="error",
    every_secs=_OFTEN_SECS,
)
HEARTBEAT_REFUSED = Event(
    "sender_heartbeats_refused", "Heartbeats that the collector refused", level="warning", every_secs=_OFTEN_SECS
)

SPOOL_FAILED = Event(
    "sender_batches_unspooled",
    "Batches sent from memory because the spool could not be written",
    level="error",
    every_secs=_OFTEN_SECS,
)
_BREAKER_LEVELS = {"closed": 0, "half_open": 1, "open": 2}


class SenderReport:
    """Takes a sender's events: `Sender(…, on_event=report)`, then `report.watch(lambda: sender.stats)`."""

    def __init__(self, registry: CollectorRegistry, clock: Clock | None = None) -> None:
        self._registry = registry
        self._events = Events(registry, log, clock)
        self._events.declare(CONNECTED, DISCONNECTED, CONNECT_FAILED, REFUSED, DROPPED, HEARTBEAT_REFUSED, SPOOL_FAILED)

    def __call__(self, event: events.SenderEvent) -> None:
        """Counts and, not too often, logs."""
        happened = self._events.happened
        match event:
            case events.Connected():
                happened(CONNECTED, collector=event.endpoint)
            case events.Disconnected():
                happened(DISCONNECTED, collector=event.endpoint, reason=event.reason, unanswered=event.unanswered)
            case events.ConnectFailed():
                happened(CONNECT_FAILED, collector=event.endpoint, reason=event.reason)
            case events.Answered():
                pass  # counted with the statistics; a line a batch would say nothing more
            case events.Refused():
                happened(REFUSED, event.points, reason=event.reason, example=event.example)
            case events.Dropped():
                happened(DROPPED, event.points, reason=event.reason)
            case events.HeartbeatRefused():
                happened(HEARTBEAT_REFUSED, outcome=event.outcome, example=event.example)
            case events.SpoolFailed():
                happened(SPOOL_FAILED, event.batches, reason=event.reason)
            case events.SpoolOpened():
                unusual = event.damaged_bytes or event.undecodable or event.renewal not in (None, "fresh")
                tell = log.warning if unusual else log.info
                tell("spool_opened", **asdict(event))

    def watch(self, stats: Callable[[], SenderStats]) -> None:
        """Shows a sender's statistics among the metrics."""
        self._registry.register(_Statistics(stats))

    def finish(self) -> None:
        """Logs what was held back; for a last word when stopping."""
        self._events.finish()


class _Statistics(Collector):
    def __init__(self, stats: Callable[[], SenderStats]) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        stats = self._stats()
        for name, about, value in (
            ("points_sent", "Points sent at least once", stats.points_sent),
            ("points_acknowledged", "Points that the collector has stored", stats.points_acknowledged),
            ("batches_sent", "Batches sent at least once", stats.batches_sent),
            ("batches_resent", "Times that a batch was sent again", stats.batches_resent),
            ("frame_bytes", "Bytes of frames sent", stats.frame_bytes_sent),
        ):
            yield CounterMetricFamily(f"{PREFIX}sender_{name}", about, value=value)
        for name, about, level in (
            ("points_pending", "Points without an answer", stats.points_pending),
            ("batches_pending", "Batches without an answer", stats.batches_pending),
            ("connected", "1 while there is a good connection", int(stats.connected_to is not None)),
            ("spool_bytes", "Bytes of the spool's files", stats.spool_bytes),
        ):
            yield GaugeMetricFamily(f"{PREFIX}sender_{name}", about, value=level)
        breakers = GaugeMetricFamily(
            f"{PREFIX}sender_circuit_state",
            "Whether a collector is tried: 0 closed (it is), 1 half open (once), 2 open (not now)",
            labels=["collector"],
        )
        for collector, state in stats.collectors.items():
            breakers.add_metric([collector], _BREAKER_LEVELS[state])
        yield breakers
