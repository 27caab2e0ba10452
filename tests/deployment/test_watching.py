"""What docs/operations.md says about watching: its metrics are those of a collector that runs, its alerts are sound."""

import asyncio
import json
import re
import urllib.request
from pathlib import Path

from tests.support.repository import REPOSITORY, run

from telemetry_collector.app.collector import Collector
from telemetry_collector.config import WRITERS, DiscoveredSections, load
from telemetry_collector.security.authority import set_up

ALERTS = REPOSITORY / "deploy/prometheus-alerts.yaml"
OPERATIONS = REPOSITORY / "docs/operations.md"

SERIES_OF_A_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


def test_prometheus_takes_them() -> None:
    assert "SUCCESS" in run("promtool", "check", "rules", ALERTS)


def test_each_is_about_metrics_that_operators_can_look_up() -> None:
    expressions = re.sub(r"summary: .*", "", ALERTS.read_text())
    used = {SERIES_OF_A_HISTOGRAM.sub("", name) for name in re.findall(r"telemetry_collector_\w+", expressions)}
    assert used
    assert used <= explained()


def explained() -> set[str]:
    """The metrics of the tables in docs/operations.md."""
    return set(re.findall(r"^\| `(telemetry_collector_\w+)` \|", OPERATIONS.read_text(), flags=re.MULTILINE))


async def test_every_metric_is_explained_and_none_that_is_not_there(tmp_path: Path) -> None:
    files = set_up(tmp_path / "certs")
    document = {
        "server": {"listen_addr": "127.0.0.1:0"},
        "security": {
            "tls_cert_path": str(files.server_certificate),
            "tls_key_path": str(files.server_key),
            "tls_ca_path": str(files.ca),
        },
        "journal": {"dir": str(tmp_path / "journal"), "segment_bytes": 1 << 20, "max_bytes": 1 << 23},
        "parquet": {"output_dir": str(tmp_path / "parquet")},
        "observability": {"metrics_addr": "127.0.0.1", "metrics_port": 0},
    }
    collector = Collector(load(json.dumps(document), DiscoveredSections(WRITERS)))
    await collector.start()
    try:
        url = f"http://127.0.0.1:{collector.endpoint.port}/metrics"
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read().decode())
    finally:
        await collector.stop()
    assert set(re.findall(r"^# TYPE (telemetry_collector_\w+) ", page, flags=re.MULTILINE)) == explained()
