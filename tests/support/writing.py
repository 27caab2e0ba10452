"""A context for writers under test, and what their counters say."""

from prometheus_client import CollectorRegistry

from telemetry_collector.breaker import Breaker
from telemetry_collector.clock import Clock
from telemetry_collector.component import WriterContext
from telemetry_collector.observe.writer_events import WriterMetrics

JOURNAL_ID = "0123456789abcdef0123456789abcdef"


class Observed:
    """A registry with writers' metrics, to be asked."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._metrics = WriterMetrics(self.registry)

    def context(
        self, name: str, journal_id: str = JOURNAL_ID, *, clock: Clock | None = None, retry_secs_max: float = 30.0
    ) -> WriterContext:
        """A writer's context; its breaker counts the pauses by the clock."""
        return WriterContext(name, journal_id, self._metrics.writer(name), Breaker(retry_secs_max, clock))

    def count(self, metric: str, writer: str, **labels: str) -> float:
        """The counter `telemetry_collector_writer_<metric>_total` of a writer; 0 where there is none yet."""
        name = f"telemetry_collector_writer_{metric}_total"
        return self.registry.get_sample_value(name, {"writer": writer, **labels}) or 0.0
