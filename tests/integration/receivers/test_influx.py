"""Line protocol as InfluxDB's own client sends it, and as curl does."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from tests.integration.receivers.conftest import Running, curl, receiving

from telemetry_collector.security.authority import Files

TIME_MS = time.time_ns() // 1_000_000


async def test_what_influxdbs_client_writes_is_in_the_dataset(running: Running) -> None:
    async with InfluxDBClientAsync(running.url("influx"), token="any", org="horizon", enable_gzip=True) as client:
        assert await client.ping()
        points = [
            {
                "measurement": "cpu",
                "tags": {"host": "node-5", "cpu": "cpu 0"},
                "fields": {"usage_idle": 98.5, "ticks": 12},
            },
            {"measurement": "queue", "fields": {"value": 3.0, "state": "open", "full": False}},
        ]
        assert await client.write_api().write(bucket="telemetry", record=points)
    rows = await running.rows(4, "name, value, node_id, tags, type, identity", "node_id is not null")
    values = {row[0]: row[1] for row in rows}
    assert values == {"cpu.ticks": 12.0, "cpu.usage_idle": 98.5, "queue": 3.0, "queue.full": 0.0}
    assert [rows[0][2:], rows[2][3:]] == [("node-5", {"cpu": "cpu 0"}, "gauge", "influx"), ({}, "gauge", "influx")]
    assert running.counted("request_parts_left_out_total", receiver="influx", kind="text_field") == 1


async def test_good_lines_are_stored_and_bad_ones_told(running: Running) -> None:
    lines = f"m value=1 {TIME_MS}\nm\nm value=x\n# nothing\nm,a=b value=2 {TIME_MS}\nlate value=1 5\n".encode()
    url = running.url("influx", "/write?db=telegraf&precision=ms")
    status, _, body = await curl(url, "-H", "Content-Encoding: gzip", "--data-binary", "@-", data=gzip.compress(lines))
    error = json.loads(body)["error"]
    assert status == 400
    assert error.startswith("partial write: 2 x malformed (line 2: no fields"), error
    assert "1 x invalid_timestamp (late: " in error
    assert error.endswith(" dropped=3")
    assert await running.rows(2, "name, value, epoch_ms(timestamp)") == [("m", 1.0, TIME_MS), ("m", 2.0, TIME_MS)]
    status, _, body = await curl(running.url("influx", "/api/v2/write?bucket=b"), "--data-binary", "@-", data=b"m,")
    assert (status, json.loads(body)["code"]) == (400, "invalid")
    # Telegraf's output for version 1 goes by these words: what is answered otherwise, older ones send for ever.
    for line, words in [(b"late value=1 5", "partial write: 1 x invalid_timestamp"), (b"", "unable to parse: ")]:
        flags = () if line else ("-H", "Content-Encoding: gzip")
        status, _, body = await curl(running.url("influx", "/write"), *flags, "--data-binary", "@-", data=line or b"m")
        assert (status, json.loads(body)["error"][: len(words)]) == (400, words)
    status, _, _ = await curl(running.url("influx", "/write?precision=day"), "--data-binary", "@-", data=b"m value=1")
    assert status == 400


async def test_what_clients_ask_before_they_write(running: Running) -> None:
    status, headers, _ = await curl(running.url("influx", "/ping"))
    assert (status, "x-influxdb-version" in headers) == (204, True)
    status, _, body = await curl(running.url("influx", "/health"))
    assert (status, json.loads(body)["status"]) == (200, "pass")
    status, _, body = await curl(running.url("influx", "/query"), "-d", "q=CREATE DATABASE telegraf")
    assert (status, json.loads(body)) == (200, {"results": [{"statement_id": 0}]})


async def test_a_token_is_asked_for_where_there_is_one(tmp_path: Path, certificates: Files) -> None:
    receivers = {"influx": {"listen_addr": "127.0.0.1:0", "token": "s3cret"}}
    async with receiving(tmp_path, certificates, receivers=receivers) as running:
        for path, flags, expected in [
            ("/api/v2/write", (), 401),
            ("/api/v2/write", ("-H", "Authorization: Token other"), 401),
            ("/api/v2/write", ("-H", "Authorization: Token s3cret"), 204),
            ("/api/v2/write", ("-H", "Authorization: bearer s3cret"), 204),
            ("/write?p=s3cret", (), 204),
            ("/write", ("--user", "telegraf:s3cret"), 204),
            ("/write", ("-H", "Authorization: BASIC dTpzM2NyZXQ="), 204),
            ("/write", ("--user", "s3cret:"), 401),
        ]:
            status, _, _ = await curl(running.url("influx", path), *flags, "--data-binary", "@-", data=b"m value=1")
            assert status == expected, (path, flags)
        assert running.counted("requests_refused_total", receiver="influx", outcome="denied") == 3
        assert len(await running.rows(5)) == 5
