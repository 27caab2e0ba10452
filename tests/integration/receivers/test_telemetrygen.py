"""telemetrygen, the OpenTelemetry Collector's load generator: every point, span and log record of it is stored."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.integration.receivers.conftest import Running
from tests.integration.receivers.test_sdks import taking
from tests.support import clients

from telemetry_collector.security.authority import Files

TYPES = {"Gauge": "gauge", "Sum": "counter", "Histogram": "histogram", "ExponentialHistogram": "histogram"}
COUNT = 5
WORKERS = 2
SENT = COUNT * WORKERS


def command(running: Running, signal: str, over: str, files: Files | None) -> tuple[str, ...]:
    port = running.address(f"otlp_{over}").rpartition(":")[2]
    if files is None:
        trust: tuple[str, ...] = ("--otlp-insecure",)
    else:
        shown = ("--mtls", "--client-cert", str(files.node_certificate), "--client-key", str(files.node_key))
        trust = ("--ca-cert", str(files.ca), *shown)
    return (
        *(*clients.program("telemetrygen"), signal, "--otlp-endpoint", f"localhost:{port}", *trust),
        *(("--otlp-http",) if over == "http" else ()),
        *("--workers", str(WORKERS), f"--{signal}", str(COUNT), "--rate", "0", "--service", "checkout"),
        *("--otlp-attributes", 'host.name="node-1"', "--telemetry-attributes", 'route="/pay"'),
    )


@pytest.mark.parametrize("mutual", [False, True])
@pytest.mark.parametrize("over", ["grpc", "http"])
async def test_everything_it_generates_is_stored(tmp_path: Path, certificates: Files, over: str, mutual: bool) -> None:
    async with taking(tmp_path, certificates, mutual=mutual) as running:
        files = certificates if mutual else None
        before_us = time.time_ns() // 1_000
        for kind in TYPES:
            of_kind = (
                "--metric-type",
                kind,
                "--otlp-metric-name",
                f"made.{kind}",
                "--aggregation-temporality",
                "delta",
            )
            done = await clients.run((*command(running, "metrics", over, files), *of_kind))
            assert done.status == 0, done.error
        done = await clients.run((*command(running, "traces", over, files), "--child-spans", "2"))
        assert done.status == 0, done.error
        done = await clients.run((*command(running, "logs", over, files), "--body", "no tea left"))
        assert done.status == 0, done.error
        after_us = time.time_ns() // 1_000
        columns = "name, type, delta, service, node_id, tags['route'], epoch_us(timestamp), value, histogram"
        points = await running.rows(SENT * len(TYPES), columns)
        spans = await running.rows(
            SENT * 3, "trace_id, name, parent_span_id is null, span_id, service, node_id", dataset="spans"
        )
        records = await running.rows(SENT, "body, severity_text, service, node_id, attributes['route']", dataset="logs")
        refused = running.counted("requests_refused_total", receiver=f"otlp_{over}", outcome="partial")
    assert (len(points), refused) == (SENT * len(TYPES), 0)
    for kind, stored_as in TYPES.items():
        of_kind_rows = [row for row in points if row[0] == f"made.{kind}"]
        assert len(of_kind_rows) == SENT
        for _, type_, delta, *told, moment_us, value, histogram in of_kind_rows:
            assert (type_, delta, told) == (stored_as, kind != "Gauge", ["checkout", "node-1", "/pay"])
            assert before_us <= moment_us <= after_us
            assert (value is None, histogram is None) == (stored_as == "histogram", stored_as != "histogram")
    assert len(spans) == SENT * 3
    assert len({row[3] for row in spans}) == SENT * 3, "each has an id of its own"
    assert [row[2] for row in spans].count(True) == len({row[0] for row in spans}) == SENT, "one root a trace"
    assert {row[4:] for row in spans} == {("checkout", "node-1")}
    assert records == [("no tea left", "Info", "checkout", "node-1", "/pay")] * SENT
