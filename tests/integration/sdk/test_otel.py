"""A service that is instrumented with OpenTelemetry's own SDK switches by one line."""

import threading
from typing import Any

import pytest
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from tests.integration.sdk.conftest import NODE, Site

from telemetry_collector.agent.sdk import AgentSocket
from telemetry_collector.agent.sdk.courier import Courier
from telemetry_collector.agent.sdk.otel import TelemetryCollectorExporter

RESOURCE = {
    "service.name": "checkout",
    "service.version": "1.2",
    "host.name": NODE,
    "cloud.region": "us",
    "cloud.availability_zone": "us-2",
    "team": "blue",
}


def measuring(exporter: TelemetryCollectorExporter, **resource: str) -> MeterProvider:
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    views = [View(instrument_name="job.size", aggregation=ExponentialBucketHistogramAggregation())]
    return MeterProvider([reader], Resource(RESOURCE | resource), views=views)


def use(provider: MeterProvider) -> None:
    meter = provider.get_meter("test")
    counter = meter.create_counter("orders.placed", unit="{order}")
    counter.add(2, {"country": "NL"})
    counter.add(3, {"country": "NL"})
    meter.create_up_down_counter("queue.depth").add(-4)
    meter.create_observable_gauge("heat", [lambda _: [Observation(21.5, {"core": 1, "hot": True})]], unit="Cel")
    for secs in (0.5, 30.0):
        meter.create_histogram("job.run", unit="s").record(secs)
    for size in (0.0, 1.5, 1_000.0):
        meter.create_histogram("job.size").record(size)


@pytest.mark.parametrize("route", ["straight", "through_agent"])
def test_all_kinds_of_points_arrive(site: Site, route: str) -> None:
    collector = site.collector()
    if route == "through_agent":
        site.agent(collector.listen_addr)
        exporter = TelemetryCollectorExporter(site.through_agent())
    else:
        exporter = TelemetryCollectorExporter(site.straight(collector.listen_addr))
    provider = measuring(exporter)
    use(provider)
    assert provider.force_flush(20_000)
    provider.shutdown()
    assert exporter.dropped == {}
    rows = site.rows(
        "name, type, value, delta, unit, tags, histogram, service, version, node_id, region, zone",
        "name NOT LIKE 'agent.%'",
    )
    stored = {row[0]: row[1:] for row in rows}
    common = {"team": "blue"} | ({"rack": "r1"} if route == "through_agent" else {})
    assert stored["orders.placed"][:5] == ("counter", 5.0, True, "{order}", {"country": "NL"} | common)
    assert stored["queue.depth"][:3] == ("gauge", -4.0, False)
    assert stored["heat"][:5] == ("gauge", 21.5, False, "Cel", {"core": "1", "hot": "true"} | common)
    kind, _, delta, _, _, histogram, *standard = stored["job.run"]
    assert (kind, delta, histogram["count"], histogram["sum"]) == ("histogram", True, 2, 30.5)
    assert (histogram["min"], histogram["max"]) == (0.5, 30.0)
    assert standard == ["checkout", "1.2", NODE, "us", "us-2"]
    histogram = stored["job.size"][5]
    assert histogram["count"] == 3
    holding = [place for place, count in enumerate(histogram["counts"]) if count]
    bounds = [float("-inf"), *histogram["bounds"], float("inf")]
    for place, size in zip(holding, (0.0, 1.5, 1_000.0), strict=True):
        assert bounds[place] <= size <= bounds[place + 1]


def test_a_host_that_is_not_the_node_keeps_its_name(site: Site) -> None:
    collector = site.collector()
    provider = measuring(TelemetryCollectorExporter(site.straight(collector.listen_addr)), **{"host.name": "pod-1"})
    use(provider)
    assert provider.force_flush(20_000)
    provider.shutdown()
    (row,) = site.rows("node_id, tags", "name = 'orders.placed'")
    assert row == (NODE, {"country": "NL", "team": "blue", "host.name": "pod-1"})


def test_an_attribute_that_names_another_node_costs_its_point_and_stores_none_twice(site: Site) -> None:
    collector = site.collector()
    exporter = TelemetryCollectorExporter(site.straight(collector.listen_addr))
    provider = measuring(exporter)
    use(provider)
    provider.get_meter("test").create_counter("peer.calls").add(1, {"node_id": "gpu-8"})
    provider.force_flush(20_000)
    provider.shutdown()
    assert exporter.dropped == {"refused_identity_mismatch": 1}
    assert site.rows("name, value", "name IN ('orders.placed', 'peer.calls')") == [("orders.placed", 5)]


def test_an_exporter_that_cannot_be_started_tries_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = site.collector()
    exporter = TelemetryCollectorExporter(site.straight(collector.listen_addr))
    provider = measuring(exporter)
    start = threading.Thread.start

    def exhausted(thread: threading.Thread) -> None:
        if thread.name == "metrics-courier":
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(threading.Thread, "start", exhausted)
        use(provider)
        provider.force_flush(20_000)
        assert exporter.force_flush(0), "nothing waits"
    provider.get_meter("test").create_counter("orders.placed", unit="{order}").add(7, {"country": "NL"})
    assert provider.force_flush(20_000)
    provider.shutdown()
    assert site.rows("value", "name = 'orders.placed'") == [(7,)], "changes are exported once, and failed then"


def test_a_service_whose_points_nobody_takes_ends_all_the_same(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    attend = Courier.attend

    def watched(courier: Courier, work: Any, timeout_secs: float) -> bool:
        waits.append(timeout_secs)
        return attend(courier, work, timeout_secs)

    monkeypatch.setattr(Courier, "attend", watched)
    exporter = TelemetryCollectorExporter(AgentSocket(site.socket), timeout_secs=0.2, exit_secs=0.1)
    provider = measuring(exporter)
    use(provider)
    provider.shutdown()
    assert waits == [0.2, 0.1]
    site.until(lambda: exporter.dropped == {"stopped": 5})


def test_an_export_that_nobody_stores_has_failed_in_time(site: Site) -> None:
    exporter = TelemetryCollectorExporter(AgentSocket(site.socket))
    provider = measuring(exporter)
    exported: list[MetricsData] = []
    results: list[MetricExportResult] = []
    export = exporter.export

    def watched(data: MetricsData, timeout_millis: float = 300, **more: object) -> MetricExportResult:
        exported.append(data)
        results.append(export(data, 300))
        return results[-1]

    exporter.export = watched  # type: ignore[assignment,method-assign]
    use(provider)
    provider.force_flush(500)
    assert results == [MetricExportResult.FAILURE]
    exporter.shutdown(100)
    provider.shutdown()
    assert exporter.dropped == {"stopped": 5}
    assert exporter.export(exported[0]) is MetricExportResult.FAILURE
