"""The files that a measurement makes: a collector's configuration, and certificates that fit what is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from telemetry_collector.bench.plan import Plan, PlanError
from telemetry_collector.bench.site import Site
from telemetry_collector.config import WRITERS, Config, DiscoveredSections, load
from telemetry_collector.config.files import read_certificates
from telemetry_collector.security.identity import Identity


def configured(directory: Path, plan: Plan, influxdb_url: str | None = None, **environ: str) -> Config:
    site = Site(directory / "site", plan)
    site.configure(5001, 9091, influxdb_url)
    return load(site.document, DiscoveredSections(WRITERS), environ=environ)


def test_the_collector_takes_what_the_plan_sends(tmp_path: Path) -> None:
    config = configured(tmp_path, Plan(agents=2_000, series=300, batch_points=5_000))
    assert config.limits.max_cardinality >= 600_000
    assert config.limits.max_batch_size >= 5_000
    assert config.server.max_connections >= 2_000
    assert config.quotas.default.points_per_sec is None
    assert list(config.writers) == ["parquet"]


def test_without_writers_there_is_the_journal_alone(tmp_path: Path) -> None:
    assert not configured(tmp_path, Plan(writers=())).writers


def test_a_databases_token_comes_from_the_environment_and_stands_in_no_file(tmp_path: Path) -> None:
    plan = Plan(writers=("influxdb",), influxdb_url="http://localhost:8086")
    config = configured(tmp_path, plan, "http://localhost:8086", INFLUXDB_TOKEN="secret-7", INFLUXDB_ORG="fleet")
    assert dict(config.writers["influxdb"])["org"] == "fleet"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"secret-7" in path.read_bytes()]


@pytest.mark.parametrize(
    ("plan", "nodes"),
    [
        (Plan(agents=3), ["node-00000", "node-00001", "node-00002"]),
        (Plan(agents=3, connections=2), ["relay-00000", "relay-00001"]),
    ],
)
def test_every_connection_shows_who_it_speaks_for(tmp_path: Path, plan: Plan, nodes: list[str]) -> None:
    credentials = Site(tmp_path / "site", plan).credentials()
    found = [Identity.of(read_certificates(one.certificate)[0]) for one in credentials]
    assert found == [Identity(one.identity, node) for one, node in zip(credentials, nodes, strict=True)]


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlanError, match=r"cannot make the directory .*/file/below: Not a directory"):
        Site(tmp_path / "file" / "below", Plan())
