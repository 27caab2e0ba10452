"""What is counted of traces and logs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from telemetry_collector import _core

# (key in the core's stats, metric, its help)
COUNTERS = (
    ("requests_received", "requests", "Requests of traces or logs that could be read"),
    ("rows_received", "rows_received", "Spans or log records of those requests"),
    ("rows_committed", "rows_committed", "Spans or log records on stable storage"),
    ("retries_asked", "retries_asked", "Requests told to come back later: no room, a quota, or a failed commit"),
    ("commits_failed", "commits_failed", "Requests whose commit failed"),
    ("undecodable", "undecodable_records", "Journal records that were skipped because they do not decode"),
    ("journal_quarantined", "journal_quarantined_ranges", "Damaged ranges of the journal that were set aside"),
)
GAUGES = (
    ("journal_bytes", "journal_bytes", "Bytes of the signal's journal on disk"),
    ("journal_bytes_max", "journal_bytes_max", "Its journal_max_bytes"),
)


@final
class SignalMetrics(Collector):
    """Reads a snapshot of each signal's counters at each scrape."""

    def __init__(self, cores: Iterable[tuple[str, _core.Signals]]) -> None:
        self._cores = tuple(cores)

    def collect(self) -> Iterator[Metric]:
        """All of them, by signal."""
        stats = [(signal, core.stats()) for signal, core in self._cores]
        for key, name, text in COUNTERS:
            counted = CounterMetricFamily(f"telemetry_collector_signal_{name}", text, labels=["signal"])
            for signal, values in stats:
                counted.add_metric([signal], values[key])
            yield counted
        for key, name, text in GAUGES:
            measured = GaugeMetricFamily(f"telemetry_collector_signal_{name}", text, labels=["signal"])
            for signal, values in stats:
                measured.add_metric([signal], values[key])
            yield measured
        refused = CounterMetricFamily(
            "telemetry_collector_signal_rows_refused",
            "Spans or log records refused, by reason",
            labels=["signal", "reason"],
        )
        for signal, values in stats:
            for reason, rows in values["rows_refused"].items():
                refused.add_metric([signal, reason], rows)
        yield refused
