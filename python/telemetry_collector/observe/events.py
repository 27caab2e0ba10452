"""One event is one counter and one log line, declared in one place.

    REFUSED = Event("connections_refused", "Connections refused", labels=("reason",), level="warning", every_secs=10)

    events = Events(registry, logger(__name__))
    events.declare(REFUSED)
    events.happened(REFUSED, reason="not_allowed", identity=identity)

counts `telemetry_collector_connections_refused_total{reason="not_allowed"}` and logs `connections_refused` with reason,
identity and amount. With `every_secs`, the counter counts each, and the log tells of the first and then at most once an
interval and set of labels, its amount being what happened since.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from telemetry_collector.clock import Clock, SystemClock
from telemetry_collector.observe.logs import Level, Logger
from telemetry_collector.observe.metrics import counter
from telemetry_collector.observe.occasional import Occasional


@dataclass(frozen=True)
class Event:
    """A kind of thing that happens."""

    name: str
    """A noun and its unit, as in the counter's name: `connections_refused`."""
    about: str
    """The counter's help."""
    labels: tuple[str, ...] = ()
    """Fields that tell counters apart; each has few values. All others are only logged."""
    level: Level = "info"
    every_secs: float | None = None
    """At most one log line in so many seconds for each set of labels; None: each is logged."""


class Events:
    """Counts and logs events. Not safe from several threads."""

    def __init__(self, registry: CollectorRegistry, log: Logger, clock: Clock | None = None) -> None:
        self._registry = registry
        self._log = log
        self._clock = clock or SystemClock()
        self._counters: dict[Event, Counter] = {}
        self._occasional: dict[Event, Occasional] = {}

    def declare(self, *events: Event) -> None:
        """Registers their counters; one without labels shows as 0 from now on. Each event is declared once."""
        for event in events:
            self._counters[event] = counter(self._registry, event.name, event.about, event.labels)
            if event.every_secs is not None:
                self._occasional[event] = Occasional(event.every_secs, self._clock)

    def happened(self, event: Event, amount: int = 1, **fields: Any) -> None:
        """Counts and logs an event that was declared. Every label must be among the fields."""
        values = tuple(str(fields[label]) for label in event.labels)
        counted = self._counters[event]
        (counted.labels(*values) if values else counted).inc(amount)
        told: int | None = amount
        if event in self._occasional:
            told = self._occasional[event].due(values, amount)
        if told is not None:
            self._tell(event, told, fields)

    def finish(self) -> None:
        """Logs what happened since it was last told; for a last word when stopping."""
        for event, occasional in self._occasional.items():
            for values, amount in occasional.untold():
                assert isinstance(values, tuple)
                self._tell(event, amount, dict(zip(event.labels, values, strict=True)))

    def _tell(self, event: Event, amount: int, fields: Mapping[str, Any]) -> None:
        getattr(self._log, event.level)(event.name, **fields, amount=amount)
