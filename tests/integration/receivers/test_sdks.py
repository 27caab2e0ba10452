"""OpenTelemetry's SDKs for Go and JavaScript: they are pointed here by their standard variables and nothing else, and
all that they say they sent is in the datasets.

What they send is written in tests/clients, the same in both languages.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.integration.receivers.conftest import Running, receiving
from tests.integration.receivers.test_signals import signals
from tests.support import clients
from tests.support.documents import server_tls

from telemetry_collector.security.authority import Files

RESOURCE = {
    "service.name": "checkout",
    "service.version": "1.2.3",
    "host.name": "node-1",
    "cloud.region": "eu",
    "cloud.availability_zone": "eu-1",
    "deployment.environment.name": "test",
}
DOORS = {"grpc": "otlp_grpc", "http/protobuf": "otlp_http", "http/json": "otlp_http"}
BEGIN_US = 1_795_000_000_123_456
# The driver needs another package for times in Python, so times are asked for as numbers.
EVENTS = "[{'name': e.name, 'attributes': e.attributes, 'time': epoch_us(e.time)} for e in events]"


def command(client: str, rounds: int = 1) -> tuple[str, ...]:
    of = {"go": lambda: clients.program("otelsend"), "javascript": lambda: clients.script("otelsend.mjs")}
    return (*of[client](), "--rounds", str(rounds))


def pointed_at(running: Running, protocol: str, *, files: Files | None = None, node: str = "node") -> dict[str, str]:
    """The variables that make an SDK send here; with certificates where there are some."""
    port = running.address(DOORS[protocol]).rpartition(":")[2]
    variables = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"{'https' if files else 'http'}://localhost:{port}",
        "OTEL_RESOURCE_ATTRIBUTES": ",".join(f"{key}={value}" for key, value in RESOURCE.items()),
    }
    if files is not None:
        directory = files.ca.parent
        variables |= {
            "OTEL_EXPORTER_OTLP_CERTIFICATE": str(files.ca),
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(directory / f"{node}.pem"),
            "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(directory / f"{node}.key"),
        }
    return variables


@asynccontextmanager
async def taking(
    directory: Path, certificates: Files, *, mutual: bool = False, **sections: Any
) -> AsyncIterator[Running]:
    tls = "mutual" if mutual else "off"
    given = {
        **signals(directory),
        "receivers": {name: {"listen_addr": "127.0.0.1:0", "tls": tls} for name in ("otlp_grpc", "otlp_http")},
        "security": server_tls(certificates),
        **sections,
    }
    async with receiving(directory, certificates, **given) as running:
        yield running


def expected_points(*, delta: bool) -> dict[str, tuple[Any, ...]]:
    """By name: type, unit, whether it is a change, value and own tags."""
    return {
        "requests": ("counter", "1", delta, 7.0, {"route": "/pay", "count": "3"}),
        "open": ("gauge", "", False, -2.0, {}),
        "temperature": ("gauge", "Cel", False, 21.5, {}),
        "read": ("counter", "By", delta, 4096.0, {}),
        "latency": ("histogram", "s", delta, None, {}),
        "latency.exp": ("histogram", "", delta, None, {}),
    }


async def check_points(running: Running, *, delta: bool, between_us: tuple[int, int]) -> None:
    columns = (
        "name, type, unit, delta, value, tags, service, version, node_id, region, zone, epoch_us(timestamp), histogram"
    )
    expected = expected_points(delta=delta)
    rows = await running.rows(len(expected), columns)
    assert sorted(row[0] for row in rows) == sorted(expected), "each once"
    common = {"otel.scope.name": "library", "deployment.environment.name": "test"}
    for name, *told, tags, service, version, node, region, zone, moment_us, _ in rows:
        *known, own = expected[name]
        assert (told, tags) == (known, {**common, **own}), name
        assert (service, version, node, region, zone) == ("checkout", "1.2.3", "node-1", "eu", "eu-1"), name
        assert between_us[0] <= moment_us <= between_us[1], name
    histograms: dict[str, Mapping[str, Any]] = {row[0]: row[-1] for row in rows if row[-1] is not None}
    explicit, exponential = histograms["latency"], histograms["latency.exp"]
    assert explicit == {"count": 2, "sum": 0.75, "min": 0.25, "max": 0.5, "bounds": [0.3, 1.0], "counts": [1, 1, 0]}
    assert [exponential[key] for key in ("count", "sum", "min", "max")] == [3, 4.0, 0.0, 3.0]
    assert sum(exponential["counts"]) == 3
    for value in (0.0, 1.0, 3.0):
        place = sum(bound < value - 1e-9 for bound in exponential["bounds"])
        assert exponential["counts"][place] == 1, f"{value} is in its bucket of {exponential}"


async def check_spans(running: Running) -> tuple[str, str]:
    """Returns the ids of the trace and of its inner span."""
    columns = (
        "name, kind, trace_id, span_id, parent_span_id, epoch_us(start), duration_ns, status_code, status_message, "
        f"attributes, {EVENTS}, links, service, version, node_id, region, zone, scope_name, scope_version, resource"
    )
    child, parent = await running.rows(2, columns, dataset="spans")
    (trace_id, outer), (same, inner) = parent[2:4], child[2:4]
    assert (len(trace_id), len(outer), len(inner), same) == (32, 16, 16, trace_id)
    assert parent[:2] == ("parent", "server")
    assert parent[4:12] == (None, BEGIN_US, 5_000_001, "unset", None, {}, [], [])
    assert child[:2] == ("child", "internal")
    assert child[4:10] == (outer, BEGIN_US + 1_000, 2_000_000, "error", "no stock", {"n": "3", "list": "[1,2]"})
    assert child[10] == [{"name": "cache miss", "attributes": {"key": "k"}, "time": BEGIN_US + 2_000}]
    (link,) = child[11]
    assert (link["trace_id"], link["span_id"], link["attributes"]) == (trace_id, outer, {"why": "retry"})
    for row in (parent, child):
        assert row[12:19] == ("checkout", "1.2.3", "node-1", "eu", "eu-1", "library", "1.2")
        assert row[19]["deployment.environment.name"] == "test"
        assert row[19]["telemetry.sdk.name"] == "opentelemetry"
    return trace_id, inner


async def check_logs(running: Running, trace_id: str, span_id: str) -> None:
    columns = (
        "epoch_us(timestamp), severity_number, severity_text, body, event_name, attributes, epoch_us(observed), "
        "trace_id, span_id, service, node_id, scope_name"
    )
    message, event = await running.rows(2, columns, dataset="logs")
    assert message[:7] == (BEGIN_US, 17, "ERROR", "no tea left", None, {"shelf": "4"}, BEGIN_US + 1_000_000)
    assert event[:6] == (BEGIN_US + 1_000, 9, None, '{"a":1,"b":[true]}', "boot", {})
    for record in (message, event):
        assert record[7:] == (trace_id, span_id, "checkout", "node-1", "library")


def nothing_stored(directory: Path) -> bool:
    return not [path for name in ("parquet", "spans", "logs") for path in directory.glob(f"{name}/date=*")]


@pytest.mark.parametrize(
    ("client", "protocol", "mutual", "packed", "delta"),
    [
        ("go", "grpc", False, False, False),
        ("go", "grpc", True, True, True),
        ("go", "http/protobuf", False, True, True),
        ("go", "http/protobuf", True, False, False),
        ("javascript", "grpc", False, True, True),
        ("javascript", "grpc", True, False, False),
        ("javascript", "http/protobuf", True, True, False),
        ("javascript", "http/json", False, True, True),
        ("javascript", "http/json", True, False, False),
    ],
)
async def test_what_an_sdk_sends_is_stored_as_it_was_said(
    tmp_path: Path, certificates: Files, client: str, protocol: str, mutual: bool, packed: bool, delta: bool
) -> None:
    async with taking(tmp_path, certificates, mutual=mutual) as running:
        variables = pointed_at(running, protocol, files=certificates if mutual else None)
        if packed:
            variables["OTEL_EXPORTER_OTLP_COMPRESSION"] = "gzip"
        if delta:
            variables["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"] = "delta"
        before_us = time.time_ns() // 1_000
        done = await clients.run(command(client), variables)
        assert (done.status, done.error) == (0, "")
        await check_points(running, delta=delta, between_us=(before_us, time.time_ns() // 1_000))
        await check_logs(running, *await check_spans(running))
        identity = "spiffe://telemetry/node/node-1" if mutual else DOORS[protocol]
        for dataset in ("parquet", "spans", "logs"):
            assert {row[0] for row in await running.rows(2, "identity", dataset=dataset)} == {identity}
        exemplars = running.counted("request_parts_left_out_total", receiver=DOORS[protocol], kind="exemplar")
        assert (exemplars > 0) == (client == "go"), "the one for JavaScript has none yet"


@pytest.mark.parametrize(
    ("client", "protocol"),
    [("go", "grpc"), ("go", "http/protobuf"), ("javascript", "http/protobuf"), ("javascript", "http/json")],
)
async def test_who_is_put_off_comes_back_when_told_and_loses_nothing(
    tmp_path: Path, certificates: Files, client: str, protocol: str
) -> None:
    """The first two rounds are as much as may come at once. Over gRPC the one for JavaScript never comes back, whatever
    it is told."""
    async with taking(tmp_path, certificates, quotas={"default": {"points_per_sec": 5}}) as running:
        done = await clients.run(command(client, rounds=3), pointed_at(running, protocol))
        assert (done.status, done.error) == (0, "")
        points = await running.rows(18, "name, value")
        spans = await running.rows(6, "span_id", dataset="spans")
        records = await running.rows(6, "body", dataset="logs")
        put_off = running.counted("requests_total", receiver=DOORS[protocol], outcome="retry_later")
    assert [value for name, value in points if name == "requests"] == [7.0 * number for number in range(1, 4)]
    assert [value for name, value in points if name == "read"] == [4096.0 * number for number in range(1, 4)]
    assert (len(set(spans)), len(records)) == (6, 6)
    assert 1 <= put_off <= 9, "a request is put off a few times at most, and not by the hundred"


@pytest.mark.parametrize(
    ("client", "protocol", "words"),
    [
        ("go", "grpc", "PermissionDenied"),
        ("go", "http/protobuf", "403"),
        ("javascript", "grpc", "PERMISSION_DENIED"),
        ("javascript", "http/protobuf", "Forbidden"),
    ],
)
async def test_a_certificate_that_is_not_allowed_is_refused_in_the_protocols_words(
    tmp_path: Path, certificates: Files, client: str, protocol: str, words: str
) -> None:
    security = {**server_tls(certificates), "allowed_identities": ["*node-1"]}
    async with taking(tmp_path, certificates, mutual=True, security=security) as running:
        done = await clients.run(command(client), pointed_at(running, protocol, files=certificates, node="node-2"))
        assert done.status == 1
        assert words in done.error
        assert running.counted("requests_refused_total", receiver=DOORS[protocol], outcome="denied") == 3
    assert nothing_stored(tmp_path)


@pytest.mark.parametrize(("client", "protocol"), [("go", "grpc"), ("javascript", "http/json")])
async def test_who_speaks_for_another_node_hears_what_was_left_out(
    tmp_path: Path, certificates: Files, client: str, protocol: str
) -> None:
    async with taking(tmp_path, certificates, mutual=True) as running:
        done = await clients.run(command(client), pointed_at(running, protocol, files=certificates, node="node-2"))
        assert done.status == 1
        assert "identity_mismatch" in done.error
        assert running.counted("requests_refused_total", receiver=DOORS[protocol], outcome="rejected") == 3


@pytest.mark.parametrize(
    ("client", "protocol"),
    [("go", "grpc"), ("go", "http/protobuf"), ("javascript", "grpc"), ("javascript", "http/protobuf")],
)
async def test_who_shows_no_certificate_gets_no_word_in(
    tmp_path: Path, certificates: Files, client: str, protocol: str
) -> None:
    async with taking(tmp_path, certificates, mutual=True) as running:
        variables = pointed_at(running, protocol, files=certificates)
        for name in ("CERTIFICATE", "KEY"):
            del variables[f"OTEL_EXPORTER_OTLP_CLIENT_{name}"]
        done = await clients.run(command(client), {**variables, "OTEL_EXPORTER_OTLP_TIMEOUT": "500"})
        assert done.status == 1
        assert done.error
        assert running.counted("requests_total", receiver=DOORS[protocol], outcome="stored") == 0
    assert nothing_stored(tmp_path)
