"""What docs/operations.md says about watching: its metrics are those of a collector that runs, its alerts are sound."""

import asyncio
import json
import re
import urllib.request
from pathlib import Path

from prometheus_client import generate_latest
from tests.support.documents import collector_document
from tests.support.repository import REPOSITORY, run
from tests.support.running import collector_of

from telemetry_collector.app.agent import SECTIONS, new_agent
from telemetry_collector.config import load_agent
from telemetry_collector.observe.metrics import new_registry
from telemetry_collector.security.authority import Files, set_up

ALERTS = REPOSITORY / "deploy/prometheus-alerts.yaml"
OPERATIONS = REPOSITORY / "docs/operations.md"

SERIES_OF_A_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


def test_prometheus_takes_them() -> None:
    assert "SUCCESS" in run("promtool", "check", "rules", ALERTS)


def test_they_come_when_they_should_and_not_before() -> None:
    assert "SUCCESS" in run("promtool", "test", "rules", REPOSITORY / "tests/deployment/alerts.yaml")


def test_prometheus_takes_the_configuration_that_is_shown(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```yaml\n(rule_files.*?)```", OPERATIONS.read_text(), flags=re.DOTALL)
    (tmp_path / "prometheus.yaml").write_text(shown)
    run("promtool", "check", "config", "--syntax-only", tmp_path / "prometheus.yaml")
    assert set(re.findall(r'up\{job="(.*?)"\}', ALERTS.read_text())) == set(re.findall(r"job_name: (\S+)", shown))


def test_each_is_about_metrics_that_operators_can_look_up() -> None:
    expressions = re.sub(r"summary: .*", "", ALERTS.read_text())
    used = {SERIES_OF_A_HISTOGRAM.sub("", name) for name in re.findall(r"telemetry_collector_\w+", expressions)}
    assert used
    assert used <= explained()


def explained() -> set[str]:
    """The metrics of the tables in docs/operations.md."""
    return set(re.findall(r"^\| `(telemetry_collector_\w+)` \|", OPERATIONS.read_text(), flags=re.MULTILINE))


def shown(page: bytes) -> set[str]:
    """The metrics of a /metrics page."""
    return set(re.findall(r"^# TYPE (telemetry_collector_\w+) ", page.decode(), flags=re.MULTILINE))


async def of_a_collector(directory: Path, files: Files) -> set[str]:
    """What a collector shows that runs."""
    document = collector_document(directory, files)
    # What is off shows nothing, so everything is on.
    document |= {signal: {"output_dir": str(directory / signal)} for signal in ("traces", "logs")}
    document["grpc"] = {"listen_addr": "127.0.0.1:0", "alert_rules_path": str(directory / "rules.json")}
    async with collector_of(document) as collector:
        url = f"http://127.0.0.1:{collector.endpoint.port}/metrics"
        return shown(await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read()))


async def of_an_agent(directory: Path, files: Files) -> set[str]:
    """What an agent shows that runs; nobody listens where it sends."""
    document = {
        "agent": {
            "collectors": ["127.0.0.1:9"],
            "spool_dir": str(directory / "spool"),
            "socket": str(directory / "agent.sock"),
        },
        "security": {
            "tls_cert_path": str(files.node_certificate),
            "tls_key_path": str(files.node_key),
            "tls_ca_path": str(files.ca),
        },
    }
    registry = new_registry("0.0.0")
    agent = new_agent(load_agent(json.dumps(document), SECTIONS), registry)
    await agent.start()
    try:
        return shown(generate_latest(registry))
    finally:
        await agent.stop()


async def test_every_metric_is_explained_and_none_that_is_not_there(tmp_path: Path) -> None:
    files = set_up(tmp_path / "certs")
    assert await of_a_collector(tmp_path, files) | await of_an_agent(tmp_path, files) == explained()
