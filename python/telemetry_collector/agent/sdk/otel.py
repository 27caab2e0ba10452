"""An OpenTelemetry `MetricExporter`: what a service measures with OpenTelemetry's SDK goes our way, by one line.

    MeterProvider([PeriodicExportingMetricReader(TelemetryCollectorExporter(AgentSocket()))])

Needs the package's extra `opentelemetry`. An export has succeeded when all of it is stored, by the collector or in the
agent's spool. What could not be delivered in time fails, and is still sent when that is possible, once.
"""

import os
import time
import weakref
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricExportResult, MetricsData

from telemetry_collector.agent.sdk.courier import Courier, lost
from telemetry_collector.agent.sdk.flusher import BATCH_POINTS_MAX
from telemetry_collector.agent.sdk.otel_points import Converted, converted
from telemetry_collector.agent.sdk.routes import AgentSocket, Route
from telemetry_collector.agent.sdk.troubles import Troubles

if TYPE_CHECKING:
    from telemetry_collector.sender import Sender

TEMPORALITY: dict[type, AggregationTemporality] = {
    Counter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
    ObservableCounter: AggregationTemporality.DELTA,
    UpDownCounter: AggregationTemporality.CUMULATIVE,
    ObservableUpDownCounter: AggregationTemporality.CUMULATIVE,
    ObservableGauge: AggregationTemporality.CUMULATIVE,
}
"""Changes where they can be added up, states where they cannot, as for the rest of our points."""


class TelemetryCollectorExporter(MetricExporter):
    """Exports over our protocol, with its retries, its names and its acknowledgements."""

    def __init__(
        self,
        to: Route | None = None,
        *,
        points_max: int = 10_000,
        timeout_secs: float = 5.0,
        exit_secs: float = 2.0,
        preferred_temporality: dict[type, AggregationTemporality] | None = None,
        preferred_aggregation: dict[type, Any] | None = None,
    ) -> None:
        """`points_max` bounds what waits for its answer; beyond it the oldest is dropped and counted. An export waits
        for `timeout_secs`, and the shutdown for `exit_secs`, where readers and providers would wait half a minute for
        each: a service is to end in time also where nobody takes its points.
        """
        super().__init__({**TEMPORALITY, **(preferred_temporality or {})}, preferred_aggregation)
        self._route = to or AgentSocket()
        self._points_max = points_max
        self._timeout_secs = timeout_secs
        self._exit_secs = exit_secs
        self._troubles = Troubles()
        self._courier: Courier | None = None
        self._left_behind: list[object] = []
        self._node_tag = True
        self._shut = False
        _exporters.add(self)

    @property
    def dropped(self) -> dict[str, int]:
        """Points that came to nothing, by reason."""
        return self._troubles.counts

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> MetricExportResult:
        """Sends everything and waits for it to be stored."""
        if self._shut:
            return MetricExportResult.FAILURE
        try:
            stored = self._export(metrics_data, min(timeout_millis / 1_000, self._timeout_secs))
        except Exception as error:  # noqa: BLE001  # the service's reader would log it at every interval
            self._troubles.mention("export", f"an export failed: {type(error).__name__}: {error}")
            stored = False
        return MetricExportResult.SUCCESS if stored else MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Waits for what was exported before and is not stored yet."""
        return self._courier is None or self._courier.attend(_drained, timeout_millis / 1_000)

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Waits for what is not stored yet, and disconnects. Idempotent."""
        if self._shut:
            return
        self._shut = True
        _exporters.discard(self)
        if self._courier is not None:
            self._courier.attend(_drained, min(timeout_millis / 1_000, self._exit_secs))
            self._courier.stop()

    def _export(self, data: MetricsData, timeout_secs: float) -> bool:
        whole = self._converted(data)
        for text in whole.refused:
            self._troubles.count("unencodable", 1, text)
        if not whole.batches:
            return not whole.refused
        courier = self._running()
        mismatched = self._mismatches
        until = time.monotonic() + timeout_secs
        if courier.attend(lambda sender: _delivered(sender, whole), timeout_secs):
            return not whole.refused
        if self._node_tag and self._mismatches - mismatched >= whole.points:
            # The host has another name than the node: a container, say. It keeps its own as `host.name`. Nothing was
            # stored, and so everything can be sent again.
            self._node_tag = False
            again = self._converted(data)
            left_secs = until - time.monotonic()
            return courier.attend(lambda sender: _delivered(sender, again), left_secs) and not again.refused
        return False

    @property
    def _mismatches(self) -> int:
        return self._troubles.counts.get("refused_identity_mismatch", 0)

    def _converted(self, data: MetricsData) -> Converted:
        return converted(data, points_max=BATCH_POINTS_MAX, node_tag=self._node_tag)

    def _running(self) -> Courier:
        if self._courier is None:
            courier = Courier(self._route, points_max=self._points_max, troubles=self._troubles)
            courier.start()
            self._courier = courier
        return self._courier

    def _renew(self) -> None:
        self._left_behind.append(self._courier)
        self._courier = None
        self._troubles.renew()


_exporters: weakref.WeakSet[TelemetryCollectorExporter] = weakref.WeakSet()


def _after_fork() -> None:
    for exporter in list(_exporters):
        exporter._renew()


os.register_at_fork(after_in_child=_after_fork)


async def _delivered(sender: "Sender", whole: Converted) -> bool:
    before = lost(sender.stats)
    for batch in whole.batches:
        sender.offer(batch)
    await sender.drained()
    return lost(sender.stats) == before


async def _drained(sender: "Sender") -> bool:
    await sender.drained()
    return True
