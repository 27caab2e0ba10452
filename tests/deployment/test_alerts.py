"""The alerts that docs/operations.md offers, judged by Prometheus' own tool."""

import re

from tests.support.repository import REPOSITORY, run

ALERTS = REPOSITORY / "deploy/prometheus-alerts.yaml"
OPERATIONS = REPOSITORY / "docs/operations.md"

SERIES_OF_A_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


def test_prometheus_takes_them() -> None:
    assert "SUCCESS" in run("promtool", "check", "rules", ALERTS)


def test_each_is_about_metrics_that_operators_can_look_up() -> None:
    expressions = re.sub(r"summary: .*", "", ALERTS.read_text())
    used = {SERIES_OF_A_HISTOGRAM.sub("", name) for name in re.findall(r"telemetry_collector_\w+", expressions)}
    assert used
    explained = set(re.findall(r"^\| `(telemetry_collector_\w+)`", OPERATIONS.read_text(), flags=re.MULTILINE))
    assert used <= explained
