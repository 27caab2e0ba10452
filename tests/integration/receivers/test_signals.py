"""Traces and logs as their own SDK sends them, and as curl does: what was answered is in a dataset of its own."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pyarrow.parquet as pq
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from tests.integration.receivers.conftest import Running, curl, receiving
from tests.support.documents import server_tls

from telemetry_collector.security.authority import Files
from telemetry_collector.store.signals import Signal, signal_schema

EXPORT_TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
EXPORT_LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
START_NS = 1_795_000_000_000_000_000
# The driver needs another package for times in Python, so times are asked for as numbers.
EVENTS = "[{'name': e.name, 'attributes': e.attributes, 'time': epoch_us(e.time)} for e in events]"
TRACE_ID = "0102030405060708090a0b0c0d0e0f10"
RESOURCE = Resource({"service.name": "checkout", "host.name": "node-9", "cloud.region": "eu", "process.pid": 7})


def signals(directory: Path, **more: Any) -> dict[str, Any]:
    """Sections that turn both on."""
    names = {"traces": "spans", "logs": "logs"}
    return {
        signal: {
            "output_dir": str(directory / dataset),
            "flush_interval_secs": 0.1,
            "journal_max_bytes": 1 << 22,
            **more,
        }
        for signal, dataset in names.items()
    }


@pytest.fixture
async def taking(tmp_path: Path, certificates: Files) -> AsyncIterator[Running]:
    async with receiving(tmp_path, certificates, **signals(tmp_path)) as running:
        yield running


def span(name: str = "pay", number: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "traceId": TRACE_ID,
        "spanId": f"{number:016x}",
        "name": name,
        "kind": 2,
        "startTimeUnixNano": str(START_NS),
        "endTimeUnixNano": str(START_NS + 1_500),
        **more,
    }


def traces_of(*spans: dict[str, Any], **attributes: str) -> dict[str, Any]:
    scope = {"scope": {"name": "library", "version": "1.0"}, "spans": list(spans)}
    return {"resourceSpans": [{"resource": {"attributes": listed(attributes)}, "scopeSpans": [scope]}]}


def logs_of(*records: dict[str, Any], **attributes: str) -> dict[str, Any]:
    scope = {"scope": {"name": "library"}, "logRecords": list(records)}
    return {"resourceLogs": [{"resource": {"attributes": listed(attributes)}, "scopeLogs": [scope]}]}


def listed(attributes: dict[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]


def hex_as_base64(value: Any) -> Any:
    """OTLP's JSON as protobuf's own reader wants it: there, ids are in base64 like other bytes."""
    if isinstance(value, list):
        return [hex_as_base64(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _base64(item) if key in ("traceId", "spanId", "parentSpanId") else hex_as_base64(item)
        for key, item in value.items()
    }


def _base64(digits: str) -> str:
    import base64

    return base64.b64encode(bytes.fromhex(digits)).decode()


def traces_message(asked: dict[str, Any]) -> bytes:
    message: bytes = json_format.ParseDict(hex_as_base64(asked), ExportTraceServiceRequest()).SerializeToString()
    return message


def logs_message(asked: dict[str, Any]) -> bytes:
    message: bytes = json_format.ParseDict(hex_as_base64(asked), ExportLogsServiceRequest()).SerializeToString()
    return message


@pytest.mark.parametrize("over", ["grpc", "http"])
async def test_spans_of_the_sdk_are_in_the_dataset(taking: Running, over: str) -> None:
    def trace() -> bool:
        exporter: Any
        if over == "grpc":
            exporter = GrpcSpans(endpoint=taking.url("otlp_grpc"), insecure=True)
        else:
            exporter = HttpSpans(endpoint=taking.url("otlp_http", "/v1/traces"))
        provider = TracerProvider(resource=RESOURCE)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        tracer = provider.get_tracer("library", "1.2")
        with tracer.start_as_current_span("parent", kind=SpanKind.SERVER) as parent:
            linked = [Link(parent.get_span_context(), {"why": "retry"})]
            with tracer.start_as_current_span("child", attributes={"n": 3, "list": [1, 2]}, links=linked) as child:
                child.add_event("cache miss", {"key": "k"})
                child.set_status(Status(StatusCode.ERROR, "no stock"))
        flushed = provider.force_flush()
        provider.shutdown()
        return flushed

    assert await asyncio.to_thread(trace)
    columns = (
        "name, kind, trace_id, span_id, parent_span_id, duration_ns, status_code, status_message, service, node_id, "
        f"region, scope_name, scope_version, attributes, resource, {EVENTS}, links, identity"
    )
    child, parent = await taking.rows(2, columns, dataset="spans")
    assert (parent[:2], child[:2]) == (("parent", "server"), ("child", "internal"))
    assert (len(parent[2]), len(parent[3]), parent[2]) == (32, 16, child[2])
    assert (parent[4], child[4]) == (None, parent[3])
    assert 0 < child[5] < parent[5] < 10**10
    assert (parent[6:8], child[6:8]) == (("unset", None), ("error", "no stock"))
    assert parent[8:13] == child[8:13] == ("checkout", "node-9", "eu", "library", "1.2")
    assert child[13] == {"n": "3", "list": "[1,2]"}
    assert child[14] == {"process.pid": "7"}
    (event,) = child[15]
    assert (event["name"], event["attributes"]) == ("cache miss", {"key": "k"})
    (link,) = child[16]
    assert (link["trace_id"], link["span_id"], link["attributes"]) == (parent[2], parent[3], {"why": "retry"})
    assert child[17] == f"otlp_{over}"
    assert taking.counted("request_rows_accepted_total", receiver=f"otlp_{over}", signal="traces") == 2
    assert taking.counted("signal_rows_committed_total", signal="traces") == 2
    assert not list(taking.directory.glob("parquet/date=*")), "no points came"


@pytest.mark.parametrize("over", ["grpc", "http"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the SDK's handler has moved, and works
async def test_log_records_of_the_sdk_are_in_the_dataset(taking: Running, over: str) -> None:
    def write() -> bool:
        exporter: Any
        if over == "grpc":
            exporter = GrpcLogs(endpoint=taking.url("otlp_grpc"), insecure=True)
        else:
            exporter = HttpLogs(endpoint=taking.url("otlp_http", "/v1/logs"))
        provider = LoggerProvider(resource=RESOURCE)
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        logger = logging.getLogger("test_signals.shop")
        logger.propagate = False
        logger.addHandler(LoggingHandler(logger_provider=provider))
        logger.error("no %s left", "tea", extra={"shelf": 4})
        flushed = provider.force_flush()
        provider.shutdown()
        return flushed

    assert await asyncio.to_thread(write)
    columns = (
        "body, severity_text, severity_number, service, node_id, attributes, scope_name, trace_id, epoch_us(observed)"
    )
    ((*found, observed),) = await taking.rows(1, columns, dataset="logs")
    assert found[:2] == ["no tea left", "ERROR"]
    assert found[2:5] == [17, "checkout", "node-9"]
    assert found[5]["shelf"] == "4"
    assert found[6:] == ["test_signals.shop", None]
    assert observed is not None


async def test_json_and_protobuf_of_traces_say_the_same(taking: Running) -> None:
    event = {
        "timeUnixNano": str(START_NS + 1_000),
        "name": "e",
        "attributes": [{"key": "b", "value": {"boolValue": True}}],
    }
    link = {"traceId": TRACE_ID, "spanId": "00000000000000ff", "flags": 257, "traceState": "a=b"}
    asked = traces_of(
        span(
            parentSpanId="00000000000000aa",
            traceState="x=y",
            events=[event],
            links=[link],
            status={"code": 2, "message": "m"},
            flags=1,
            droppedEventsCount=3,
            attributes=[
                {"key": "k", "value": {"kvlistValue": {"values": [{"key": "d", "value": {"doubleValue": 1.5}}]}}}
            ],
        ),
        **{"service.name": "s", "telemetry.sdk.name": "x"},
    )
    url = taking.url("otlp_http", "/v1/traces")
    as_json = ("-H", "Content-Type: application/json", "--data-binary", "@-")
    status, headers, body = await curl(url, *as_json, data=json.dumps(asked).encode())
    assert (status, headers["content-type"].partition(";")[0], body) == (200, "application/json", b"{}")
    packed = gzip.compress(traces_message(asked))
    flags = ("-H", "Content-Type: application/x-protobuf", "-H", "Content-Encoding: gzip", "--data-binary", "@-")
    status, headers, body = await curl(url, *flags, data=packed)
    assert (status, headers["content-type"], body) == (200, "application/x-protobuf", b"")
    one, other = await taking.rows(
        2, f"* exclude (received, start, events), epoch_us(start), {EVENTS}", dataset="spans"
    )
    assert one == other
    ((*found, start, events, links),) = (
        await taking.rows(
            2,
            "trace_id, span_id, parent_span_id, trace_state, status_code, flags, events_dropped, attributes, resource, "
            f"node_id, epoch_us(start), {EVENTS}, links",
            dataset="spans",
        )
    )[:1]
    assert found == [
        *(TRACE_ID, "0000000000000001", "00000000000000aa", "x=y", "error", 1, 3),
        *({"k": '{"d":1.5}'}, {"telemetry.sdk.name": "x"}, socket.gethostname()),
    ]
    assert start == START_NS // 1_000
    assert [(each["name"], each["attributes"]) for each in events] == [("e", {"b": "true"})]
    assert [(each["span_id"], each["trace_state"], each["flags"]) for each in links] == [
        ("00000000000000ff", "a=b", 257)
    ]


async def test_logs_have_the_time_that_they_tell(taking: Running) -> None:
    structured = {"arrayValue": {"values": [{"stringValue": 'a"b'}, {"bytesValue": "AAE="}, {}]}}
    records: list[dict[str, Any]] = [
        {"timeUnixNano": str(START_NS), "observedTimeUnixNano": str(START_NS + 5_000), "body": structured},
        {"observedTimeUnixNano": str(START_NS + 6_000), "traceId": TRACE_ID, "spanId": "00000000000000ff"},
        {"eventName": "boot", "severityNumber": 9, "traceId": "0" * 32},
    ]
    url = taking.url("otlp_http", "/v1/logs")
    as_json = ("-H", "Content-Type: application/json", "--data-binary", "@-")
    assert (await curl(url, *as_json, data=json.dumps(logs_of(*records)).encode()))[0] == 200
    columns = "epoch_us(timestamp), epoch_us(observed), timestamp = received, body, trace_id, span_id, event_name"
    first, second, third = sorted(await taking.rows(3, columns, dataset="logs"), key=lambda row: row[0])
    start_us = START_NS // 1_000
    assert first == (start_us, start_us + 5, False, '["a\\"b","AAE=",null]', None, None, None)
    assert second == (start_us + 6, start_us + 6, False, None, TRACE_ID, "00000000000000ff", None)
    assert third[1:] == (None, True, None, None, None, "boot")


async def test_what_is_refused_is_told_and_the_rest_is_stored(taking: Running) -> None:
    bad = [span("short id", traceId="0102"), span("zeros", spanId="0" * 16), span("late", endTimeUnixNano=str(2**63))]
    deep: dict[str, Any] = {"stringValue": "x"}
    for _ in range(20):
        deep = {"arrayValue": {"values": [deep]}}
    bad.append(span("deep", attributes=[{"key": "deep", "value": deep}]))
    message = traces_message(traces_of(span("good"), *bad, span("good too", 2)))
    async with grpc.aio.insecure_channel(taking.address("otlp_grpc")) as channel:
        answered = ExportTraceServiceResponse.FromString(await channel.unary_unary(EXPORT_TRACES)(message))
        with pytest.raises(grpc.aio.AioRpcError) as malformed:
            await channel.unary_unary(EXPORT_LOGS)(b"\x0a\xff")
        assert await channel.unary_unary(EXPORT_LOGS)(b"") == b""
        many = [{"key": f"k{number}", "value": {"intValue": "1"}} for number in range(257)]
        logs = logs_message(logs_of({"body": {"stringValue": "x"}, "attributes": many}))
        refused = ExportLogsServiceResponse.FromString(await channel.unary_unary(EXPORT_LOGS)(logs))
    partial = answered.partial_success
    assert partial.rejected_spans == 4
    for told in ("2 x invalid_value (short id: its trace_id", "1 x invalid_timestamp (late", "1 x invalid_tag (deep"):
        assert told in partial.error_message
    assert malformed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "ExportLogsServiceRequest" in (malformed.value.details() or "")
    assert refused.partial_success.rejected_log_records == 1
    assert await taking.rows(2, "name", dataset="spans") == [("good",), ("good too",)]
    asked = json.dumps(traces_of(span(traceId="0102"))).encode()
    as_json = ("-H", "Content-Type: application/json", "--data-binary", "@-")
    status, _, body = await curl(taking.url("otlp_http", "/v1/traces"), *as_json, data=asked)
    assert (status, json.loads(body)["partialSuccess"]["rejectedSpans"]) == (200, "1")
    asked = json.dumps(traces_of(span(traceId="xyz"))).encode()
    status, _, body = await curl(taking.url("otlp_http", "/v1/traces"), *as_json, data=asked)
    assert (status, "traceId: expected hexadecimal digits" in json.loads(body)["message"]) == (400, True)
    assert taking.counted("signal_rows_refused_total", signal="traces", reason="invalid_value") == 3
    assert taking.counted("requests_refused_total", receiver="otlp_grpc", outcome="partial") == 1
    assert taking.counted("requests_refused_total", receiver="otlp_grpc", outcome="rejected") == 1


async def test_signals_that_are_off_say_what_would_turn_them_on(running: Running) -> None:
    async with grpc.aio.insecure_channel(running.address("otlp_grpc")) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary(EXPORT_TRACES)(b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "traces.output_dir" in (refused.value.details() or "")
    status, _, body = await curl(running.url("otlp_http", "/v1/logs"), "--data-binary", "@-", data=b"")
    assert (status, b"logs.output_dir" in body) == (404, True)


async def until_refused(channel: grpc.aio.Channel, message: Callable[[], bytes]) -> None:
    for _ in range(200):
        await channel.unary_unary(EXPORT_TRACES)(message())


async def test_a_full_journal_asks_to_come_back_and_keeps_what_it_took(tmp_path: Path, certificates: Files) -> None:
    # What is taken is written only when the collector ends.
    sections = signals(tmp_path, flush_interval_secs=3_600, journal_max_bytes=2 << 20)

    def message() -> bytes:
        noise = {"key": "noise", "value": {"stringValue": os.urandom(32 * 1024).hex()}}
        return traces_message(traces_of(span(attributes=[noise])))

    async with receiving(tmp_path, certificates, **sections) as running:
        async with grpc.aio.insecure_channel(running.address("otlp_grpc")) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as later:
                await until_refused(channel, message)
        assert later.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        details = dict(later.value.trailing_metadata() or ())["grpc-status-details-bin"]
        info = error_details_pb2.RetryInfo()
        assert status_pb2.Status.FromString(details).details[0].Unpack(info)
        assert info.retry_delay.ToMilliseconds() > 0
        url, as_protobuf = running.url("otlp_http", "/v1/traces"), "Content-Type: application/x-protobuf"
        code, headers, _ = await curl(url, "-H", as_protobuf, "--data-binary", "@-", data=message())
        assert (code, int(headers["retry-after"]) >= 1) == (429, True)
        accepted = running.counted("request_rows_accepted_total", receiver="otlp_grpc", signal="traces")
        assert accepted > 5
    assert len(await running.rows(1, "name", dataset="spans")) == accepted


async def test_a_certificate_speaks_for_its_own_node(tmp_path: Path, certificates: Files) -> None:
    receivers = {"otlp_http": {"listen_addr": "127.0.0.1:0", "tls": "mutual"}}
    sections = {**signals(tmp_path), "receivers": receivers, "security": server_tls(certificates)}
    directory = certificates.ca.parent
    async with receiving(tmp_path, certificates, **sections) as running:
        url = running.url("otlp_http", "/v1/traces", "https")
        shown = ("--cert", str(directory / "node.pem"), "--key", str(directory / "node.key"))
        base = (*shown, "--cacert", str(certificates.ca), "-H", "Content-Type: application/json", "--data-binary", "@-")
        own, foreign = traces_of(span("own")), traces_of(span("foreign"), **{"host.name": "node-2"})
        assert (await curl(url, *base, data=json.dumps(own).encode()))[0] == 200
        status, _, body = await curl(url, *base, data=json.dumps(foreign).encode())
        assert (status, "identity_mismatch" in json.loads(body)["partialSuccess"]["errorMessage"]) == (200, True)
        rows = await running.rows(1, "name, node_id, identity", dataset="spans")
    assert rows == [("own", "node-1", "spiffe://telemetry/node/node-1")]


@pytest.mark.parametrize(("signal", "dataset"), [("traces", "spans"), ("logs", "logs")])
async def test_files_have_the_columns_that_the_core_names(taking: Running, signal: Signal, dataset: str) -> None:
    as_json = ("-H", "Content-Type: application/json", "--data-binary", "@-")
    asked = traces_of(span()) if signal == "traces" else logs_of({"body": {"stringValue": "x"}})
    url = taking.url("otlp_http", f"/v1/{signal}")
    assert (await curl(url, *as_json, data=json.dumps(asked).encode()))[0] == 200
    await taking.rows(1, "identity", dataset=dataset)
    (file,) = taking.directory.glob(f"{dataset}/date=*/hour=*/*.parquet")
    found, named = pq.read_schema(file), signal_schema(signal)
    assert (found, found.metadata) == (named, named.metadata)
    assert pq.read_table(file).num_rows == 1


async def test_spans_count_against_the_quota_of_points(tmp_path: Path, certificates: Files) -> None:
    quotas = {"default": {"points_per_sec": 1}}
    async with receiving(tmp_path, certificates, **signals(tmp_path), quotas=quotas) as running:
        url, as_json = running.url("otlp_http", "/v1/traces"), ("-H", "Content-Type: application/json")
        asked = json.dumps(traces_of(*(span(number=number) for number in range(1, 9)))).encode()
        first, second = [await curl(url, *as_json, "--data-binary", "@-", data=asked) for _ in range(2)]
        assert (first[0], second[0], int(second[1]["retry-after"]) >= 1) == (200, 429, True)
        assert len(await running.rows(8, "span_id", dataset="spans")) == 8


async def test_a_request_larger_than_a_segment_is_refused_for_good(tmp_path: Path, certificates: Files) -> None:
    noise = {"key": "noise", "value": {"stringValue": os.urandom(1_200_000).hex()}}
    async with receiving(tmp_path, certificates, **signals(tmp_path)) as running:
        url, as_json = running.url("otlp_http", "/v1/traces"), ("-H", "Content-Type: application/json")
        asked = json.dumps(traces_of(span(attributes=[noise]))).encode()
        status, _, body = await curl(url, *as_json, "--data-binary", "@-", data=asked)
    assert (status, "journal.segment_bytes" in json.loads(body)["message"]) == (413, True)
