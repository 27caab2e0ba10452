"""OTLP and remote write to real destinations: what was sent by an agent is there, and back, as it was."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
from tests.integration.receivers.conftest import Running, receiving
from tests.support.prometheus import prometheus
from tests.support.victoria_metrics import VictoriaMetrics
from tests.support.waiting import PATIENCE_SECS, until

from telemetry_collector.security.authority import Files

COLUMNS = "name, type, unit, delta, value, histogram, summary, node_id, service, tags, epoch_us(timestamp)"


def request(now_ns: int) -> dict[str, Any]:
    """A point of each kind."""

    def metric(name: str, kind: str, data: dict[str, Any], **more: Any) -> dict[str, Any]:
        attributes = [{"key": "k", "value": {"stringValue": "v"}}]
        point = {"timeUnixNano": now_ns, "attributes": attributes, **data}
        return {"name": name, "unit": "s", kind: {"dataPoints": [point], **more}}

    buckets = {"count": 3, "sum": 2.5, "min": 0.1, "max": 1.5, "bucketCounts": [1, 2], "explicitBounds": [0.5]}
    metrics = [
        metric("a.counter", "sum", {"asDouble": 7.5}, aggregationTemporality=2, isMonotonic=True),
        metric("a.delta", "sum", {"asInt": 3}, aggregationTemporality=1, isMonotonic=True),
        metric("a.gauge", "gauge", {"asDouble": -0.5}),
        metric("a.histogram", "histogram", buckets, aggregationTemporality=2),
        metric("a.summary", "summary", {"count": 2, "sum": 3.0, "quantileValues": [{"quantile": 0.5, "value": 1.5}]}),
    ]
    resource = [
        {"key": key, "value": {"stringValue": value}} for key, value in (("service.name", "s"), ("host.name", "n"))
    ]
    return {"resourceMetrics": [{"resource": {"attributes": resource}, "scopeMetrics": [{"metrics": metrics}]}]}


async def post(running: Running, body: dict[str, Any]) -> None:
    url = running.url("otlp_http", "/v1/metrics")
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
        assert (answer.status, await answer.json()) == (200, {})


async def test_a_collector_forwards_to_another_over_otlp(tmp_path: Path, certificates: Files) -> None:
    async with receiving(tmp_path / "above", certificates) as above:
        otlp = {"url": above.url("otlp_http", "/v1/metrics"), "flush_interval_secs": 0.1, "gzip": "on"}
        async with receiving(tmp_path / "below", certificates, otlp=otlp) as below:
            await post(below, request(time.time_ns()))
            sent, arrived = await below.rows(5, COLUMNS), await above.rows(5, COLUMNS)
    assert arrived == sent
    assert [row[:4] for row in sent] == [
        ("a.counter", "counter", "s", False),
        ("a.delta", "counter", "s", True),
        ("a.gauge", "gauge", "s", False),
        ("a.histogram", "histogram", "s", False),
        ("a.summary", "summary", "s", False),
    ]


async def test_a_database_takes_remote_write(tmp_path: Path, certificates: Files) -> None:
    async with VictoriaMetrics(tmp_path / "database") as database:
        written = {"url": f"{database.url}/api/v1/write", "flush_interval_secs": 0.1}
        async with receiving(tmp_path / "collector", certificates, prometheus_remote_write=written) as running:
            now_ns = time.time_ns()
            await post(running, request(now_ns))
            await until(lambda: running.counted("writer_points_total", writer="prometheus_remote_write") == 5)
            await post(running, request(now_ns + 1_000_000))
            await until(lambda: running.counted("writer_points_total", writer="prometheus_remote_write") == 10)
        # It answers before it has stored.
        found: dict[str, Any] = {}
        async with asyncio.timeout(PATIENCE_SECS):
            while sum(len(samples) for samples in found.values()) < 2 * 10 + 1:
                found = await database.export('{__name__=~"a_.*"}')
    ms = now_ns // 1_000_000
    labels = 'k="v",node_id="n",service="s"'
    # The changes add up, from a beginning at nothing; everything else came twice.
    changes = [(ms - 1, 0), (ms, 3), (ms + 1, 6)]
    assert found.pop(f"a_delta_total{{{labels}}}") == changes
    twice = {
        f"a_counter_total{{{labels}}}": 7.5,
        f"a_gauge{{{labels}}}": -0.5,
        'a_histogram_bucket{k="v",le="0.5",node_id="n",service="s"}': 1,
        'a_histogram_bucket{k="v",le="+Inf",node_id="n",service="s"}': 3,
        f"a_histogram_count{{{labels}}}": 3,
        f"a_histogram_sum{{{labels}}}": 2.5,
        'a_summary{k="v",node_id="n",quantile="0.5",service="s"}': 1.5,
        f"a_summary_count{{{labels}}}": 2,
        f"a_summary_sum{{{labels}}}": 3,
    }
    assert found == {series: [(ms, value), (ms + 1, value)] for series, value in twice.items()}


def metric(name: str, kind: str, *points: tuple[int, float], **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        kind: {"dataPoints": [{"timeUnixNano": at_ns, "asDouble": value} for at_ns, value in points], **more},
    }


async def test_prometheus_sees_a_restart_as_a_reset_and_loses_late_points_alone(
    tmp_path: Path, certificates: Files
) -> None:
    second_ns = 1_000_000_000
    begun_ns = time.time_ns() - 100 * second_ns
    delta = {"aggregationTemporality": 1, "isMonotonic": True}

    def changes(*seconds_and_values: tuple[int, float]) -> dict[str, Any]:
        points = [(begun_ns + second * second_ns, value) for second, value in seconds_and_values]
        return metric("jobs", "sum", *points, **delta)

    async def send(running: Running, *metrics: dict[str, Any]) -> None:
        await post(running, {"resourceMetrics": [{"scopeMetrics": [{"metrics": list(metrics)}]}]})

    async with prometheus(tmp_path) as destination:
        written = {"url": f"{destination.url}/api/v1/write", "flush_interval_secs": 0.05}
        async with receiving(tmp_path / "collector", certificates, prometheus_remote_write=written) as running:
            await send(running, changes((0, 5), (10, 5), (20, 5)))
            await until(lambda: running.counted("writer_points_total", writer="prometheus_remote_write") == 3)
        async with receiving(tmp_path / "collector", certificates, prometheus_remote_write=written) as running:
            # The first total after the restart is larger than the last one before.
            await send(running, changes((30, 50), (40, 5)))
            await until(lambda: running.counted("writer_points_total", writer="prometheus_remote_write") == 2)
            assert (await destination.samples("jobs_total"))["jobs_total"] == [0, 5, 10, 15, 0, 50, 55]
            assert await destination.value("resets(jobs_total[1h])") == 1
            # 70 in 40 seconds, which Prometheus extends by half the distance between samples, at most, to both sides.
            assert 70 <= await destination.value("increase(jobs_total[1h])") <= 70 * 50 / 40

            now_ns = time.time_ns()
            await send(running, metric("late", "gauge", (now_ns, 1)))
            await until(lambda: running.counted("writer_points_total", writer="prometheus_remote_write") == 3)
            others = [metric(f"other_{number}", "gauge", (now_ns, number)) for number in range(100)]
            await send(running, metric("late", "gauge", (now_ns - 60 * second_ns, 7)), *others)
            await until(lambda: running.counted("writer_points_total", writer="prometheus_remote_write") == 103)
            refused = {"writer": "prometheus_remote_write", "reason": "bad_request"}
            assert running.counted("writer_points_refused_total", **refused) == 1
            assert len(await destination.samples('{__name__=~"other.*"}')) == 100
