"""OTLP as its own SDK sends it, and as curl does."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from tests.integration.receivers.conftest import Running, curl, receiving
from tests.support.documents import server_tls
from tests.support.grpc_bomb import UNPACKED_MIB, answer_to_bomb
from tests.support.waiting import until

from telemetry_collector.listeners.requests.connection import Connection
from telemetry_collector.pipeline.requests import RequestIngest
from telemetry_collector.security.authority import Files

EXPORT = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"


def request_of(metrics: Sequence[dict[str, Any]], attributes: dict[str, str] | None = None) -> dict[str, Any]:
    resource = [{"key": key, "value": {"stringValue": value}} for key, value in (attributes or {}).items()]
    scope = {"metrics": list(metrics)}
    return {"resourceMetrics": [{"resource": {"attributes": resource}, "scopeMetrics": [scope]}]}


def gauge(name: str, *values: float) -> dict[str, Any]:
    return {"name": name, "gauge": {"dataPoints": [{"asDouble": value} for value in values]}}


@pytest.mark.parametrize("over", ["grpc", "http"])
async def test_what_the_sdk_measures_is_in_the_dataset(running: Running, over: str) -> None:
    delta: dict[type, Any] = {Counter: AggregationTemporality.DELTA, Histogram: AggregationTemporality.CUMULATIVE}
    if over == "grpc":
        exporter: Any = GrpcExporter(endpoint=running.url("otlp_grpc"), insecure=True, preferred_temporality=delta)
    else:
        exporter = HttpExporter(endpoint=running.url("otlp_http", "/v1/metrics"), preferred_temporality=delta)

    def measure() -> bool:
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)
        resource = Resource({"service.name": "checkout", "host.name": "node-9", "cloud.region": "eu"})
        exponential = View(instrument_name="latency.exp", aggregation=ExponentialBucketHistogramAggregation())
        provider = MeterProvider([reader], resource, views=[exponential])
        meter = provider.get_meter("library")
        meter.create_counter("requests", unit="1").add(7, {"route": "/pay", "count": 3})
        meter.create_up_down_counter("open").add(-2)
        meter.create_histogram("latency", unit="s", explicit_bucket_boundaries_advisory=[0.1, 1]).record(0.5)
        for value in (0.0, 1.0, 3.0):
            meter.create_histogram("latency.exp").record(value)
        flushed = provider.force_flush()
        provider.shutdown()
        return flushed

    assert await asyncio.to_thread(measure)
    rows = await running.rows(4, "name, type, unit, delta, value, node_id, service, region, tags")
    by_name = {row[0]: row[1:] for row in rows}
    assert sorted(by_name) == ["latency", "latency.exp", "open", "requests"]
    assert by_name["requests"][:7] == ("counter", "1", True, 7.0, "node-9", "checkout", "eu")
    assert by_name["requests"][7] == {"route": "/pay", "count": "3", "otel.scope.name": "library"}
    assert by_name["open"][:4] == ("gauge", "", False, -2.0)
    distributions = dict(await running.rows(2, "name, histogram", "type = 'histogram'"))
    explicit, buckets = distributions["latency"], distributions["latency.exp"]
    assert (explicit["count"], explicit["sum"], explicit["min"]) == (1, 0.5, 0.5)
    assert (explicit["bounds"], explicit["counts"]) == ([0.1, 1.0], [0, 1, 0])
    assert (buckets["count"], sum(buckets["counts"]), buckets["min"], buckets["max"]) == (3, 3, 0.0, 3.0)
    for value in (0.0, 1.0, 3.0):
        place = sum(bound < value - 1e-9 for bound in buckets["bounds"])
        assert buckets["counts"][place] == 1, f"{value} is in its bucket of {buckets}"


async def test_json_and_protobuf_say_the_same(running: Running) -> None:
    attribute = {"key": "k", "value": {"arrayValue": {"values": [{"intValue": "1"}]}}}
    point = {"asInt": "5", "attributes": [attribute]}
    points = {
        "name": "m",
        "unit": "By",
        "sum": {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [point]},
    }
    asked = request_of([points, gauge("g", 1.5)], {"service.name": "s", "process.pid": "1"})
    url = running.url("otlp_http", "/v1/metrics")
    status, headers, body = await curl(
        url, "-H", "Content-Type: application/json", "--data-binary", "@-", data=json.dumps(asked).encode()
    )
    assert (status, headers["content-type"].partition(";")[0], body) == (200, "application/json", b"{}")
    message = json_format.ParseDict(asked, ExportMetricsServiceRequest()).SerializeToString()
    packed = gzip.compress(message)
    flags = ("-H", "Content-Type: application/x-protobuf", "-H", "Content-Encoding: gzip", "--data-binary", "@-")
    status, headers, body = await curl(url, *flags, data=packed)
    assert (status, headers["content-type"], body) == (200, "application/x-protobuf", b"")
    columns = "name, type, unit, value, service, tags, identity, node_id"
    rows = await running.rows(4, columns)
    assert rows[0] == rows[1]
    assert rows[2] == rows[3]
    assert rows[2][:7] == ("m", "counter", "By", 5.0, "s", {"k": "[1]"}, "otlp_http")
    assert rows[2][7] == socket.gethostname()
    assert running.counted("requests_total", receiver="otlp_http", outcome="stored") == 2


async def test_points_that_are_refused_are_told_with_their_reasons(running: Running) -> None:
    old = {"name": "old", "gauge": {"dataPoints": [{"asInt": 1, "timeUnixNano": "1000"}]}}
    infinite = {"name": "infinite", "gauge": {"dataPoints": [{"asDouble": "Infinity"}]}}
    unknown = {"name": "unknown", "gauge": {"dataPoints": [{"asDouble": "NaN"}, {}]}}
    exemplars = {"name": "good", "gauge": {"dataPoints": [{"asInt": 1, "exemplars": [{"asInt": 1}]}, {"flags": 1}]}}
    message = json_format.ParseDict(request_of([old, exemplars, infinite, unknown]), ExportMetricsServiceRequest())
    async with grpc.aio.insecure_channel(running.address("otlp_grpc")) as channel:
        export = channel.unary_unary(
            EXPORT, ExportMetricsServiceRequest.SerializeToString, ExportMetricsServiceResponse.FromString
        )
        answer = await export(message)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary(EXPORT)(b"\x0a\xff")
        with pytest.raises(grpc.aio.AioRpcError) as unserved:
            await channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")(b"")
    partial = answer.partial_success
    assert partial.rejected_data_points == 4
    assert "1 x invalid_timestamp (old: " in partial.error_message
    assert "3 x invalid_value (infinite: " in partial.error_message
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "ExportMetricsServiceRequest" in (refused.value.details() or "")
    assert unserved.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert await running.rows(1, "name") == [("good",)]
    assert running.counted("request_parts_left_out_total", receiver="otlp_grpc", kind="exemplar") == 1
    assert running.counted("request_parts_left_out_total", receiver="otlp_grpc", kind="no_value") == 1
    assert running.counted("requests_refused_total", receiver="otlp_grpc", outcome="partial") == 1
    assert running.counted("requests_refused_total", receiver="otlp_grpc", outcome="malformed") == 1


async def test_what_http_cannot_take_is_answered_in_its_words(running: Running) -> None:
    url = running.url("otlp_http", "/v1/metrics")
    as_json = ("-H", "Content-Type: application/json", "--data-binary", "@-")
    status, _, body = await curl(url, *as_json, data=b"{")
    assert (status, json.loads(body)["code"]) == (400, 3)
    assert "not JSON" in json.loads(body)["message"]
    assert (await curl(url, "-H", "Content-Type: text/plain", "--data-binary", "@-", data=b"x"))[0] == 415
    assert (await curl(url, "-H", "Content-Encoding: br", *as_json, data=b"{}"))[0] == 400
    assert (await curl(url))[0] == 405
    assert (await curl(running.url("otlp_http", "/v1/traces"), *as_json, data=b"{}"))[0] == 404
    large = request_of([gauge("g", *[1.0] * 40_000)])
    bomb = gzip.compress(b" " * (17 * 1024 * 1024) + json.dumps(large).encode())
    status, _, body = await curl(url, "-H", "Content-Encoding: gzip", *as_json, data=bomb)
    assert (status, "limits.inflated_bytes_max" in json.loads(body)["message"]) == (413, True)
    status, _, body = await curl(url, *as_json, data=b" " * (17 * 1024 * 1024))
    assert (status, "limits.inflated_bytes_max" in json.loads(body)["message"]) == (413, True)


async def test_a_request_of_many_batches_is_stored_whole(running: Running) -> None:
    message = json_format.ParseDict(
        request_of([gauge("g", *[float(value) for value in range(5_000)])]), ExportMetricsServiceRequest()
    )
    async with grpc.aio.insecure_channel(running.address("otlp_grpc")) as channel:
        await channel.unary_unary(EXPORT)(message.SerializeToString())
    assert await running.rows(5_000, "value") == [(float(value),) for value in range(5_000)]


async def until_refused(channel: grpc.aio.Channel, message: bytes) -> None:
    for _ in range(200):
        await channel.unary_unary(EXPORT)(message)


async def test_a_full_journal_asks_to_come_back(tmp_path: Path, certificates: Files) -> None:
    journal = {"dir": str(tmp_path / "journal"), "segment_bytes": 1024 * 1024, "max_bytes": 2 * 1024 * 1024}
    # A destination that is not there keeps everything in the journal.
    gone = {"url": "http://127.0.0.1:9", "org": "o", "bucket": "b", "token": "t"}
    async with receiving(tmp_path, certificates, journal=journal, influxdb=gone) as running:
        metrics = [gauge(f"g{number}", *[random.random() for _ in range(100)]) for number in range(100)]
        message = json_format.ParseDict(request_of(metrics), ExportMetricsServiceRequest()).SerializeToString()
        async with grpc.aio.insecure_channel(running.address("otlp_grpc")) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as later:
                await until_refused(channel, message)
        assert later.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        details = dict(later.value.trailing_metadata() or ())["grpc-status-details-bin"]
        status = status_pb2.Status.FromString(details)
        info = error_details_pb2.RetryInfo()
        assert status.code == 8
        assert status.details[0].Unpack(info)
        assert info.retry_delay.ToMilliseconds() > 0
        url, as_protobuf = running.url("otlp_http", "/v1/metrics"), "Content-Type: application/x-protobuf"
        code, headers, _ = await curl(url, "-H", as_protobuf, "--data-binary", "@-", data=message)
        assert (code, int(headers["retry-after"]) >= 1) == (429, True)
        assert running.counted("requests_total", receiver="otlp_grpc", outcome="retry_later") == 1


async def test_clients_prove_themselves_where_they_are_asked_to(tmp_path: Path, certificates: Files) -> None:
    receivers = {name: {"listen_addr": "127.0.0.1:0", "tls": "mutual"} for name in ("otlp_grpc", "otlp_http")}
    security = {**server_tls(certificates), "allowed_identities": ["*node-1"]}
    directory = certificates.ca.parent
    body = json.dumps(request_of([gauge("g", 1.0)]))
    message = json_format.Parse(body, ExportMetricsServiceRequest()).SerializeToString()
    foreign = json_format.ParseDict(
        request_of([gauge("g", 1.0)], {"host.name": "node-2"}), ExportMetricsServiceRequest()
    ).SerializeToString()
    async with receiving(tmp_path, certificates, receivers=receivers, security=security) as running:
        url = running.url("otlp_http", "/v1/metrics", "https")
        base = ("--cacert", str(certificates.ca), "-H", "Content-Type: application/json", "--data-binary", "@-")

        def shown(node: str) -> tuple[str, ...]:
            return ("--cert", str(directory / f"{node}.pem"), "--key", str(directory / f"{node}.key"))

        status, _, _ = await curl(url, *base, *shown("node"), data=body.encode())
        assert status == 200
        status, _, answer = await curl(url, *base, *shown("node-2"), data=body.encode())
        assert (status, "allowed_identities" in json.loads(answer)["message"]) == (403, True)
        with pytest.raises(AssertionError):
            await curl(url, *base, data=body.encode())

        def channel(node: str) -> grpc.aio.Channel:
            credentials = grpc.ssl_channel_credentials(
                certificates.ca.read_bytes(),
                (directory / f"{node}.key").read_bytes(),
                (directory / f"{node}.pem").read_bytes(),
            )
            port = running.address("otlp_grpc").rpartition(":")[2]
            return grpc.aio.secure_channel(f"localhost:{port}", credentials)

        async with channel("node") as allowed, channel("node-2") as other:
            await allowed.unary_unary(EXPORT)(message)
            answered = ExportMetricsServiceResponse.FromString(await allowed.unary_unary(EXPORT)(foreign))
            with pytest.raises(grpc.aio.AioRpcError) as denied:
                await other.unary_unary(EXPORT)(message)
        assert "identity_mismatch" in answered.partial_success.error_message
        assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
        rows = await running.rows(2, "identity, node_id")
        assert rows == [("spiffe://telemetry/node/node-1", "node-1")] * 2


async def test_packed_messages_are_unpacked_within_the_bound(running: Running) -> None:
    message = json_format.ParseDict(request_of([gauge("packed", *[1.0] * 50)]), ExportMetricsServiceRequest())
    address = running.address("otlp_grpc")
    async with grpc.aio.insecure_channel(address, compression=grpc.Compression.Gzip) as channel:
        await channel.unary_unary(EXPORT)(message.SerializeToString())
    assert await running.rows(50, "name") == [("packed",)] * 50
    status, grown_mib = await answer_to_bomb(address, EXPORT)
    assert status == str(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
    assert grown_mib < UNPACKED_MIB // 4


async def test_what_a_client_left_in_mid_commit_counts_as_stored(
    tmp_path: Path, certificates: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    due, left = asyncio.Event(), asyncio.Event()
    on_commit, connection_lost = RequestIngest._on_commit, Connection.connection_lost

    def held(ingest: RequestIngest) -> None:
        """Nothing is heard of commits before the client's leaving is."""
        due.set()
        if left.is_set():
            on_commit(ingest)

    def lost(connection: Connection, error: BaseException | None) -> None:
        connection_lost(connection, error)
        left.set()

    monkeypatch.setattr(RequestIngest, "_on_commit", held)
    monkeypatch.setattr(Connection, "connection_lost", lost)
    async with receiving(tmp_path, certificates) as running:
        body = json.dumps(request_of([gauge("m", 1.0, 2.0)])).encode()
        host, _, port = running.address("otlp_http").rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        writer.write(head.encode() + b"\r\n\r\n" + body)
        await due.wait()
        assert running.counted("request_points_accepted_total", receiver="otlp_http") == 0
        writer.close()
        await until(lambda: running.counted("request_points_accepted_total", receiver="otlp_http") == 2)
        await running.rows(2)
