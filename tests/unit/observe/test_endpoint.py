"""/metrics, /health and /ready, asked by a real client."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from tests.support.waiting import PATIENCE_SECS

from telemetry_collector.errors import AddressError
from telemetry_collector.observe.endpoint import MetricsEndpoint
from telemetry_collector.observe.metrics import counter, gauge


class Reports:
    def __init__(self) -> None:
        self.health: dict[str, Any] = {"ok": True, "writers": {"parquet": "ok"}}
        self.ready: dict[str, Any] = {"ok": False, "reason": "starting"}


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    counter(registry, "points_taken", "Points").inc(5)
    return registry


@pytest.fixture
async def endpoint(reports: Reports, registry: CollectorRegistry) -> AsyncIterator[MetricsEndpoint]:
    endpoint = MetricsEndpoint("127.0.0.1", 0, registry, lambda: reports.health, lambda: reports.ready)
    await endpoint.start()
    yield endpoint
    await endpoint.stop()


async def get(endpoint: MetricsEndpoint, path: str, **headers: str) -> tuple[int, str, str]:
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"http://127.0.0.1:{endpoint.port}{path}") as answer,
    ):
        return answer.status, answer.headers["Content-Type"], await answer.text()


async def test_metrics_are_prometheus_text(endpoint: MetricsEndpoint) -> None:
    status, kind, text = await get(endpoint, "/metrics")
    assert status == 200
    assert kind.startswith("text/plain; version=")
    assert "telemetry_collector_points_taken_total 5.0" in text


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        # Prometheus 2 and 3 as they ask.
        ("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
         "text/plain;version=0.0.4;q=0.5,*/*;q=0.1", True),
        ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;"
         "version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,"
         "*/*;q=0.1", True),
        ("application/openmetrics-text; version=1.0.0", True),
        ("application/openmetrics-text", True),
        ("text/plain;q=0.5, application/openmetrics-text;q=0.4", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;version=0.0.1", False),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;version=x, text/plain;version=y;q=z", False),
        ("application/openmetrics-text;q=nan", False),
        ("text/html,*/*", False),
        (";;,=,;q", False),
        ("", False),
    ],
)  # fmt: skip
async def test_openmetrics_is_for_who_asks_for_it(endpoint: MetricsEndpoint, accept: str, openmetrics: bool) -> None:
    status, kind, text = await get(endpoint, "/metrics", Accept=accept)
    assert status == 200
    assert kind.startswith("application/openmetrics-text; version=1.0.0" if openmetrics else "text/plain")
    assert text.endswith("# EOF\n") is openmetrics


async def test_openmetrics_has_units(endpoint: MetricsEndpoint, registry: CollectorRegistry) -> None:
    gauge(registry, "lag_seconds", "Lag").set(3)
    _, _, text = await get(endpoint, "/metrics", Accept="application/openmetrics-text")
    families = openmetrics_families(text)  # type: ignore[no-untyped-call]  # prometheus_client has no types there
    units = {family.name.removeprefix("telemetry_collector_"): family.unit for family in families}
    assert units == {"points_taken": "", "lag_seconds": "seconds"}


async def test_health_is_a_report_and_200_while_ok(endpoint: MetricsEndpoint, reports: Reports) -> None:
    status, kind, text = await get(endpoint, "/health")
    assert (status, kind.partition(";")[0], json.loads(text)) == (200, "application/json", reports.health)


async def test_readiness_is_503_until_ok(endpoint: MetricsEndpoint, reports: Reports) -> None:
    status, _, text = await get(endpoint, "/ready")
    assert (status, json.loads(text)) == (503, {"ok": False, "reason": "starting"})
    reports.ready = {"ok": True}
    assert (await get(endpoint, "/ready"))[0] == 200


async def test_a_report_that_fails_is_bad_news_and_not_a_crash(registry: CollectorRegistry) -> None:
    def broken() -> dict[str, Any]:
        raise RuntimeError("journal is gone")

    endpoint = MetricsEndpoint("127.0.0.1", 0, registry, broken, broken)
    await endpoint.start()
    try:
        status, _, text = await get(endpoint, "/health")
    finally:
        await endpoint.stop()
    assert (status, json.loads(text)) == (503, {"ok": False, "error": "RuntimeError: journal is gone"})


async def test_a_report_without_a_verdict_is_no_good_news(endpoint: MetricsEndpoint, reports: Reports) -> None:
    reports.health = {"ok": "yes"}
    assert (await get(endpoint, "/health"))[0] == 503


async def test_other_paths_are_not_found_and_the_root_names_those_there_are(endpoint: MetricsEndpoint) -> None:
    assert (await get(endpoint, "/nothing"))[0] == 404
    assert await get(endpoint, "/") == (200, "text/plain; charset=utf-8", "/metrics\n/health\n/ready\n")


async def test_a_taken_port_is_told_with_its_key(registry: CollectorRegistry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        endpoint = MetricsEndpoint("127.0.0.1", port, registry, dict, dict)
        with pytest.raises(AddressError) as caught:
            await endpoint.start()
    assert str(caught.value).startswith(f"cannot listen on 127.0.0.1 port {port} for /metrics: address already in use;")
    assert "observability.metrics_port" in str(caught.value)
    await endpoint.stop()


async def test_an_address_of_another_machine_is_told(registry: CollectorRegistry) -> None:
    endpoint = MetricsEndpoint("192.0.2.1", 0, registry, dict, dict)
    with pytest.raises(AddressError, match="cannot assign requested address"):
        await endpoint.start()


async def test_an_address_that_is_none_is_told(registry: CollectorRegistry) -> None:
    endpoint = MetricsEndpoint("no such host", 0, registry, dict, dict)
    with pytest.raises(AddressError, match="cannot listen on no such host port 0"):
        await endpoint.start()


async def test_stopping_is_idempotent_and_safe_before_starting(registry: CollectorRegistry) -> None:
    endpoint = MetricsEndpoint("127.0.0.1", 0, registry, dict, dict)
    await endpoint.stop()
    await endpoint.start()
    port = endpoint.port
    await endpoint.stop()
    await endpoint.stop()
    with socket.create_server(("127.0.0.1", port)):
        pass


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nExpect: \xe9\r\n\r\n", b"417"),
        (b"GET /nothing HTTP/1.1\r\nHost: x\r\nExpect: \xe9\r\n\r\n", b"417"),
    ],
)
async def test_what_a_client_gets_wrong_is_no_fault_of_ours(
    endpoint: MetricsEndpoint, request_bytes: bytes, status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
    writer.write(request_bytes)
    answer = await asyncio.wait_for(reader.read(), PATIENCE_SECS)
    writer.close()
    assert answer.split(b" ")[1] == status
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
