"""/metrics, /health and /ready of a collector at work: Prometheus takes the page, and its numbers are what happened."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from aioquic.quic.configuration import QuicConfiguration
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families
from tests.support.protobuf import Frames, framed, pb
from tests.support.quic_agent import QuicAgent, agent
from tests.support.running import collector_of
from tests.support.waiting import until

from telemetry_collector.app.collector import Collector
from telemetry_collector.config import Address
from telemetry_collector.security.authority import Files

NOBODY_LISTENS = "127.0.0.1:1"


@asynccontextmanager
async def at_work(directory: Path, certificates: Files, transport: str, **sections: Any) -> AsyncIterator[Collector]:
    """A collector with a writer that works, one that fails, and every kind of traffic behind it."""
    document = {
        "server": {"listen_addr": "127.0.0.1:0", "shutdown_timeout_secs": 1, "transport": transport},
        "security": {
            "tls_cert_path": str(certificates.server_certificate),
            "tls_key_path": str(certificates.server_key),
            "tls_ca_path": str(certificates.ca),
        },
        "limits": {"max_cardinality": 3, "max_batch_size": 20},
        "journal": {"dir": str(directory / "journal"), "segment_bytes": 1 << 20, "max_bytes": 1 << 23},
        "parquet": {"output_dir": str(directory / "parquet"), "flush_interval_secs": 0.1},
        "influxdb": {
            "url": f"http://{NOBODY_LISTENS}",
            "org": "o",
            "bucket": "b",
            "token": "t",
            "flush_interval_secs": 0.1,
        },
        "api": {"http_port": 0},
        "observability": {"metrics_addr": "127.0.0.1", "metrics_port": 0},
        **sections,
    }
    async with collector_of(document) as running:
        await stranger(running, certificates)
        async with agent(Address.parse(running.listen_addr), credentials(certificates)) as client:
            await talk(client)
            await until(lambda: running.summary()["writers"]["parquet"]["points_written"] == ACCEPTED)
            await until(lambda: running.summary()["writers"]["influxdb"]["failing"] is not None)
            yield running


def credentials(certificates: Files) -> QuicConfiguration:
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["telemetry/1"], server_name="localhost")
    configuration.load_cert_chain(certificates.node_certificate, certificates.node_key)
    configuration.load_verify_locations(str(certificates.ca))
    return configuration


async def stranger(running: Collector, certificates: Files) -> None:
    """Somebody without a certificate."""
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["telemetry/1"], server_name="localhost")
    configuration.load_verify_locations(str(certificates.ca))
    configuration.verify_mode = ssl.CERT_REQUIRED
    async with agent(Address.parse(running.listen_addr), configuration) as client:
        await client.closed()


def gauges(*names: str, value: float = 1.0) -> list[Any]:
    return [pb.Metric(name=name, type=pb.GAUGE, value=value) for name in names]


BATCHES = (
    pb.MetricBatch(sequence=1, epoch=1, metrics=gauges("a", "b", "c")),
    pb.MetricBatch(sequence=1, epoch=1, metrics=gauges("a", "b", "c")),
    pb.MetricBatch(sequence=2, epoch=1, metrics=gauges("a", "d", "e")),
    pb.MetricBatch(sequence=3, epoch=1, metrics=gauges("a", value=float("nan"))),
    pb.MetricBatch(sequence=4, epoch=1, metrics=gauges(*["a"] * 21)),
    pb.MetricBatch(sequence=5, epoch=1, heartbeat=pb.Heartbeat(worker_id="node-1", cpu_usage=0.5)),
)
"""Stored, the same again, partly refused for their cardinality, refused for a value and for a size, and a heartbeat."""
MALFORMED = b"\0\0\0\1\xff"
ACCEPTED = 4


async def talk(client: QuicAgent) -> None:
    """Sends them one after the other, then what is no batch, and waits for the answers."""

    def answered(count: int) -> bool:
        return len(Frames().feed(client.received(0))) == count

    for count, data in enumerate([*map(framed, BATCHES), MALFORMED], start=1):
        client.say(0, data)
        await client.until(partial(answered, count))


def get(running: Collector, path: str, accept: str = "*/*") -> tuple[int, str, str]:
    """(status, content type, body)."""
    request = urllib.request.Request(f"http://127.0.0.1:{running.endpoint.port}{path}", headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def promtool(page: str) -> subprocess.CompletedProcess[str]:
    command = ["promtool", "check", "metrics"]
    return subprocess.run(command, input=page, capture_output=True, text=True, check=False, timeout=60)


async def test_promtool_finds_nothing_wrong_with_the_page(tmp_path: Path, certificates: Files, transport: str) -> None:
    async with at_work(tmp_path, certificates, transport) as running:
        status, content_type, page = await asyncio.to_thread(get, running, "/metrics")
    assert (status, content_type.partition(";")[0]) == (200, "text/plain")
    found = await asyncio.to_thread(promtool, page)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


async def test_promtool_would_find_something() -> None:
    """The check above can fail."""
    found = await asyncio.to_thread(promtool, "# TYPE batches counter\nbatches 1\n")
    assert found.returncode != 0


async def test_the_page_tells_what_happened(tmp_path: Path, certificates: Files, transport: str) -> None:
    async with at_work(tmp_path, certificates, transport) as running:
        _, _, page = await asyncio.to_thread(get, running, "/metrics")
    values = {
        (sample.name.removeprefix("telemetry_collector_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    expected = {
        ("connections",): 1,
        ("connections_max",): 1000,
        ("handshakes_failed_total", "certificate_required"): 1,
        ("batches_received_total",): 7,
        ("batches_malformed_total",): 1,
        ("batches_answered_total", "stored"): 2,
        ("batches_answered_total", "duplicate"): 1,
        ("batches_answered_total", "partial"): 1,
        ("batches_answered_total", "rejected"): 3,
        ("points_accepted_total",): ACCEPTED,
        ("points_committed_total",): ACCEPTED,
        ("points_refused_total", "cardinality_limit"): 2,
        ("points_refused_total", "invalid_value"): 1,
        ("points_refused_total", "batch_too_large"): 21,
        ("heartbeats_taken_total",): 1,
        ("series",): 3,
        ("series_max",): 3,
        ("writer_points_total", "parquet"): ACCEPTED,
        ("writer_lag_points", "parquet"): 0,
    }
    assert {key: values.get(key) for key in expected} == expected
    assert values["frame_bytes_received_total",] == sum(len(framed(batch)) for batch in BATCHES) + len(MALFORMED)
    assert values["receive_to_stable_seconds_bucket", "+Inf"] == values["receive_to_stable_seconds_count",] >= 2
    assert values["receive_to_written_seconds_count", "parquet"] >= 1
    assert values["journal_bytes",] > 0
    assert values["writer_lag_seconds", "influxdb"] > 0
    assert values["writer_failures_total", "connection", "influxdb"] >= 1
    assert values["writer_breaker_state", "influxdb"] >= 1
    assert values["writer_breaker_failures", "influxdb"] >= 1
    assert values["writer_breaker_state", "parquet"] == values["writer_breaker_retry_seconds", "parquet"] == 0
    assert 0 < values["journal_room_bytes",] <= 1 << 23


async def test_openmetrics_says_what_the_text_says(tmp_path: Path, certificates: Files, transport: str) -> None:
    async with at_work(tmp_path, certificates, transport) as running:
        accept = "application/openmetrics-text; version=1.0.0"
        _, content_type, page = await asyncio.to_thread(get, running, "/metrics", accept)
        _, _, text = await asyncio.to_thread(get, running, "/metrics")
    assert content_type.startswith("application/openmetrics-text")
    # It refuses what the standard does.
    parsed = openmetrics_families(page)  # type: ignore[no-untyped-call]  # prometheus_client has no types there
    families = {family.name: family for family in parsed}

    def samples(some: Iterable[Metric]) -> set[tuple[str, ...]]:
        return {(sample.name, *sample.labels.values()) for family in some for sample in family.samples}

    assert samples(families.values()) == samples(text_string_to_metric_families(text))
    assert families["telemetry_collector_receive_to_stable_seconds"].unit == "seconds"
    assert families["telemetry_collector_journal_bytes"].unit == "bytes"


async def test_health_and_ready_are_json_and_name_the_writer_that_fails(
    tmp_path: Path, certificates: Files, transport: str
) -> None:
    async with at_work(tmp_path, certificates, transport) as running:
        health, ready = await asyncio.gather(
            asyncio.to_thread(get, running, "/health"), asyncio.to_thread(get, running, "/ready")
        )
    assert (health[0], ready[0]) == (200, 200), "a destination that is down is no reason to send agents elsewhere"
    assert health[1].startswith("application/json")
    assert json.loads(health[2])["writers"]["parquet"] == {
        "points_written": ACCEPTED,
        "points_refused": 0,
        "lag_points": 0,
        "failing": None,
    }
    journal = json.loads(health[2])["journal"]
    assert journal["room_bytes"] > 0
    assert journal["unwritten_age_secs"] >= 0
    assert set(journal) == {"room_bytes", "outage_covered_secs", "unwritten_age_secs"}
    failing = json.loads(ready[2])["failing_writers"]
    assert set(failing) == {"influxdb"}
    assert NOBODY_LISTENS in failing["influxdb"]
