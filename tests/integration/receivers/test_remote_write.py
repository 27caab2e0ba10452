"""Remote write as Prometheus sends it, and requests made by hand."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.integration.receivers.conftest import Running, curl

from telemetry_collector.listeners.requests import protobuf
from telemetry_collector.loopback import free_port

PROMETHEUS_SECS = 60.0
"""It reads its own log before it sends what is in it."""
PROMETHEUS = Path("/usr/bin/prometheus")
VMAGENT = Path("/usr/bin/vmagent")


def series(labels: dict[str, str], *samples: tuple[float, int]) -> bytes:
    names = b"".join(
        protobuf.message(1, protobuf.message(1, name) + protobuf.message(2, value)) for name, value in labels.items()
    )
    points = b"".join(
        protobuf.message(2, b"\x09" + struct.pack("<d", value) + protobuf.number(2, time_ms))
        for value, time_ms in samples
    )
    return protobuf.message(1, names + points)


@pytest.mark.parametrize("program", ["prometheus", "agent", "vmagent"])
async def test_what_prometheus_and_its_like_scrape_is_in_the_dataset(
    running: Running, tmp_path: Path, program: str
) -> None:
    port = free_port(socket.SOCK_STREAM)
    config: dict[str, Any] = {
        "global": {"scrape_interval": "1s", "external_labels": {"region": "eu"}},
        "scrape_configs": [
            {"job_name": "collector", "static_configs": [{"targets": [f"127.0.0.1:{running.collector.endpoint.port}"]}]}
        ],
    }
    url = running.url("remote_write", "/api/v1/write")
    if program != "vmagent":
        config["remote_write"] = [{"url": url, "queue_config": {"batch_send_deadline": "200ms"}}]
    file = tmp_path / "prometheus.yml"
    file.write_text(json.dumps(config))
    scraping = [str(PROMETHEUS), f"--config.file={file}", f"--web.listen-address=127.0.0.1:{port}"]
    commands = {
        "prometheus": [*scraping, f"--storage.tsdb.path={tmp_path}/tsdb"],
        "agent": [*scraping, "--enable-feature=agent", f"--storage.agent.path={tmp_path}/wal"],
        "vmagent": [
            str(VMAGENT),
            f"-promscrape.config={file}",
            f"-remoteWrite.url={url}",
            "-remoteWrite.flushInterval=200ms",
            f"-remoteWrite.tmpDataPath={tmp_path}/queue",
            f"-httpListenAddr=127.0.0.1:{port}",
        ],
    }
    process = await asyncio.to_thread(
        subprocess.Popen,
        commands[program],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        build = "name = 'telemetry_collector_build_info'"
        rows = await running.rows(
            1, "value, type, region, version, tags['job'], tags['instance']", build, PROMETHEUS_SECS
        )
        requests = await running.rows(2, "type, value", "name = 'telemetry_collector_requests_total'")
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)
    instance = f"127.0.0.1:{running.collector.endpoint.port}"
    assert rows[0] == (1.0, "gauge", "eu", rows[0][3], "collector", instance)
    assert {kind for kind, _ in requests} == {"counter"}
    assert running.counted("requests_total", receiver="remote_write", outcome="rejected") == 0


async def test_good_samples_are_stored_and_refused_ones_told(running: Running) -> None:
    now_ms = time.time_ns() // 1_000_000
    request = series({"__name__": "up", "job": "a"}, (1.0, now_ms), (float("nan"), now_ms + 1)) + series(
        {"__name__": "up", "job": "b"}, (1.0, 5), (float("inf"), now_ms)
    )
    url = running.url("remote_write", "/api/v1/write")
    flags = ("-H", "Content-Type: application/x-protobuf", "-H", "Content-Encoding: snappy", "--data-binary", "@-")
    packed = pa.compress(request, codec="snappy", asbytes=True)
    status, _, body = await curl(url, *flags, data=packed)
    assert status == 400
    assert b"1 x invalid_timestamp (up: " in body
    assert b"invalid_value" not in body
    assert await running.rows(1, "name, value, tags") == [("up", 1.0, {"job": "a"})]
    assert (await curl(url, *flags, data=b"\xff\xff\xff"))[0] == 400
    v2 = "Content-Type: application/x-protobuf;proto=io.prometheus.write.v2.Request"
    assert (await curl(url, "-H", v2, "--data-binary", "@-", data=packed))[0] == 415
    assert running.counted("request_parts_left_out_total", receiver="remote_write", kind="no_value") == 2
