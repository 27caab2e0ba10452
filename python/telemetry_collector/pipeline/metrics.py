"""The core's counters as Prometheus metrics, read when somebody scrapes: the hot path never touches Python for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from telemetry_collector.clock import Clock
from telemetry_collector.pipeline.consumer import Consumer

# Receive-to-written reaches from a second (InfluxDB) to a destination's outage.
WRITTEN_LATENCY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 300.0, 3600.0)

# (key in the core's stats, metric, its help)
COUNTERS = (
    ("batches_received", "batches_received", "Batches received, whatever became of them"),
    ("batches_malformed", "batches_malformed", "Frames that are no MetricBatch"),
    ("points_received", "points_received", "Points in batches that were judged"),
    ("points_accepted", "points_accepted", "Points accepted: journalled, or waiting for their commit"),
    ("frame_bytes_received", "frame_bytes_received", "Bytes of frames received, length prefixes included"),
    ("heartbeats_taken", "heartbeats_taken", "Heartbeats of workers that were taken"),
    ("heartbeats_ignored", "heartbeats_ignored", "Heartbeats with a number that is NaN or above 1, or without room"),
    ("series_expired", "series_expired", "Series forgotten after limits.series_idle_secs without a point"),
    ("series_changed", "series_changed", "Times a series came with another type or unit than before"),
    ("epochs_forgotten", "epochs_forgotten", "Epochs of identities forgotten because newer ones were opened"),
    ("points_committed", "points_committed", "Points on stable storage"),
    ("commits_failed", "commits_failed_batches", "Batches whose commit failed: their agents send them again"),
    (
        "quota_series_refused",
        "quota_series_refused_points",
        "Points of new series refused because their identity has brought as many as it may",
    ),
    ("worker_points_committed", "worker_points_committed", "Points on stable storage that were made of heartbeats"),
    ("journal_syncs", "journal_syncs", "Group commits: one fdatasync each"),
    ("journal_quarantined", "journal_quarantined_records", "Damaged ranges of the journal that were set aside"),
)
GAUGES = (
    ("series", "series", "Active series"),
    ("series_max", "series_max", "limits.max_cardinality"),
    ("inflight_batches", "inflight_batches", "Batches received and not yet committed"),
    ("inflight_bytes", "inflight_bytes", "Bytes received and not yet committed"),
    ("recent_bytes", "recent_bytes", "Memory that holds committed blocks for the writers"),
    ("journal_bytes", "journal_bytes", "Bytes of the journal's segments on disk"),
    ("journal_bytes_max", "journal_bytes_max", "journal.max_bytes"),
    ("journal_segments", "journal_segments", "Segments of the journal"),
    ("held_bytes", "held_bytes", "Bytes of frames that have begun and not ended"),
    ("quota_identities", "quota_identities", "Identities that have spent some of their quota lately"),
)

QUOTA_OFFENDERS_MAX = 10
"""So many identities are named in a scrape; names are made by whoever issues certificates, and are many."""


@final
class CoreMetrics(Collector):
    """Reads a snapshot of the core's counters at each scrape."""

    def __init__(
        self,
        stats: Callable[[], dict[str, Any]],
        quota_offenders: Callable[[], list[tuple[str, str, int]]],
        clock: Clock,
    ) -> None:
        self._stats = stats
        self._quota_offenders = quota_offenders
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """All metrics of the core."""
        stats = self._stats()
        for key, name, text in COUNTERS:
            yield CounterMetricFamily(f"telemetry_collector_{name}", text, value=stats[key])
        for key, name, text in GAUGES:
            yield GaugeMetricFamily(f"telemetry_collector_{name}", text, value=stats[key])
        yield _labelled("points_refused", "Points refused, by reason", "reason", stats["points_refused"])
        yield _labelled("batches_answered", "Replies to batches, by outcome", "outcome", stats["batches_answered"])
        retries = stats["retries_asked"]
        yield _labelled("retries_asked", "Batches answered RETRY_LATER, by what was full", "cause", retries)
        dropped = stats["worker_points_dropped"]
        yield _labelled("worker_points_dropped", "Points made of heartbeats and not stored", "reason", dropped)
        yield self._quota_excess()
        yield GaugeMetricFamily(
            "telemetry_collector_journal_age_seconds",
            "Age of the journal's oldest segment: how far back a replay could reach",
            value=self._journal_age_secs(stats),
        )
        yield _stable_latency(stats)

    def _quota_excess(self) -> Metric:
        family = CounterMetricFamily(
            "telemetry_collector_quota_excess",
            f"Batches put off, or points of new series refused, of the {QUOTA_OFFENDERS_MAX} worst identities",
            labels=["identity", "quota"],
        )
        for identity, quota, amount in self._quota_offenders()[:QUOTA_OFFENDERS_MAX]:
            family.add_metric([identity, quota.removeprefix("quota_")], amount)
        return family

    def _journal_age_secs(self, stats: dict[str, Any]) -> float:
        created = stats["journal_oldest_created_unix_secs"]
        return 0.0 if created is None else max(self._clock.unix_secs() - created, 0.0)


def _labelled(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(f"telemetry_collector_{name}", text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def _stable_latency(stats: dict[str, Any]) -> Metric:
    bounds_us, counts, sum_us = stats["stable_latency"]
    family = HistogramMetricFamily(
        "telemetry_collector_receive_to_stable_seconds", "From a batch's receipt to the fdatasync that covers it"
    )
    buckets, total = [], 0
    for bound, count in zip([f"{bound / 1e6}" for bound in bounds_us] + ["+Inf"], counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    family.add_metric([], buckets, sum_us / 1e6)
    return family


@final
class ConsumerMetrics(Collector):
    """How far each writer is behind, read at each scrape."""

    def __init__(self, consumers: Callable[[], Iterable[Consumer]]) -> None:
        self._consumers = consumers

    def collect(self) -> Iterator[Metric]:
        """Lag of every writer, in bytes, points and seconds, and the state of its breaker."""
        families = {
            "lag_bytes": GaugeMetricFamily(
                "telemetry_collector_writer_lag_bytes", "Committed journal bytes not read yet", labels=["writer"]
            ),
            "lag_points": GaugeMetricFamily(
                "telemetry_collector_writer_lag_points",
                "Committed points not read yet: the writer's queue; an estimate for what is only on disk",
                labels=["writer"],
            ),
            "lag_secs": GaugeMetricFamily(
                "telemetry_collector_writer_lag_seconds", "Age of the oldest batch not stored", labels=["writer"]
            ),
        }
        state = GaugeMetricFamily(
            "telemetry_collector_writer_breaker_state",
            "0 closed: attempts are made; 1 half-open: one is made; 2 open: none is made until a pause is over",
            labels=["writer"],
        )
        failures = GaugeMetricFamily(
            "telemetry_collector_writer_breaker_failures", "Attempts failed since the last success", labels=["writer"]
        )
        next_attempt = GaugeMetricFamily(
            "telemetry_collector_writer_breaker_retry_seconds",
            "Until the next attempt; 0 unless open",
            labels=["writer"],
        )
        for consumer in self._consumers():
            for attribute, family in families.items():
                family.add_metric([consumer.name], getattr(consumer, attribute))
            state.add_metric([consumer.name], consumer.breaker.state.value)
            failures.add_metric([consumer.name], consumer.breaker.failures)
            next_attempt.add_metric([consumer.name], consumer.breaker.retry_in_secs)
        yield from (state, failures, next_attempt)
        yield from families.values()


@final
class FanOutMetrics:
    """What the fan-out reports, as counters and a latency histogram for each writer."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._clock = clock
        self._failures = Counter(
            "telemetry_collector_writer_restarts",
            "Times a writer failed and was started anew",
            ["writer", "error"],
            registry=registry,
        )
        self._dropped = Counter(
            "telemetry_collector_writer_points_dropped",
            "Points a writer will never get: it cannot take them, or the journal could not keep them",
            ["writer", "error"],
            registry=registry,
        )
        self._latency = Histogram(
            "telemetry_collector_receive_to_written_seconds",
            "From a batch's receipt to the flush that made it durable at the destination",
            ["writer"],
            buckets=WRITTEN_LATENCY_BUCKETS,
            registry=registry,
        )

    def written(self, writer: str, points: int, received_first_us: int) -> None:
        """A writer has made a batch of blocks durable at its destination; its first was received then."""
        del points  # counted by the writer itself
        self._latency.labels(writer).observe(max(self._clock.unix_secs() - received_first_us / 1e6, 0.0))

    def failed(self, writer: str, reason: str) -> None:
        """A writer failed and will be started anew."""
        self._failures.labels(writer, reason).inc()

    def dropped(self, writer: str, points: int, reason: str) -> None:
        """Points that a writer will never get."""
        self._dropped.labels(writer, reason).inc(points)
