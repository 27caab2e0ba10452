"""How many workers there are, for Prometheus, read when it asks; and how long a heartbeat takes to handle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from telemetry_collector.api.workers.registry import Workers


@final
class WorkerMetrics(Collector):
    """Reads the workers at each scrape."""

    def __init__(self, workers: Workers, count_max: int) -> None:
        self._workers = workers
        self._count_max = count_max
        self._handled = 0
        self._handled_secs = 0.0

    def handled(self, secs: float) -> None:
        """A heartbeat was handled, and took so long."""
        self._handled += 1
        self._handled_secs += secs

    def collect(self) -> Iterator[Metric]:
        """Workers by state, their bound, and heartbeats handled."""
        by_state = GaugeMetricFamily("telemetry_collector_workers", "Workers known, by state", labels=["state"])
        active = self._workers.active
        by_state.add_metric(["active"], active)
        by_state.add_metric(["inactive"], len(self._workers) - active)
        yield by_state
        yield GaugeMetricFamily("telemetry_collector_workers_max", "api.workers_max", value=self._count_max)
        yield CounterMetricFamily(
            "telemetry_collector_worker_heartbeats_handled", "Heartbeats that workers are known by", value=self._handled
        )
        yield CounterMetricFamily(
            "telemetry_collector_worker_handling_seconds", "Time spent on them", value=self._handled_secs
        )
        yield CounterMetricFamily(
            "telemetry_collector_worker_tasks_dropped_heartbeats",
            "Heartbeats taken without their tasks, of which all workers have too many",
            value=self._workers.tasks_dropped,
        )
