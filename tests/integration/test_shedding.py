"""An agent whose collector has too little room for it sends less, and all of it again when there is room."""

import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.support.waiting import until

from telemetry_collector.agent import NodeAgent, NodeAgentConfig
from telemetry_collector.agent.sources import gauge
from telemetry_collector.app.collector import Collector
from telemetry_collector.config import WRITERS, Address, AgentSecurity, DiscoveredSections, load
from telemetry_collector.security.authority import Authority
from telemetry_collector.sender import Point

POINTS = 25
NO_BUDGETS = {"max_cpu_percent": None, "max_memory_mb": None, "max_disk_mb": None}


class Plenty:
    """Counts how often it is read."""

    name = "plenty"

    def __init__(self) -> None:
        self.readings = 0

    def read(self) -> list[Point]:
        self.readings += 1
        return [gauge("plenty.value", place, "1", place=str(place)) for place in range(POINTS)]


class Vital(Plenty):
    """Is never to be left out."""

    name = "vital"

    def read(self) -> list[Point]:
        self.readings += 1
        return [gauge("service.check.up", 1, "1")]


def document(directory: Path, quota: dict[str, int]) -> str:
    written: dict[str, Any] = {
        "server": {"listen_addr": "127.0.0.1:0"},
        "security": {f"tls_{key}_path": str(directory / name) for key, name in FILES.items()},
        "quotas": {"default": quota},
        "journal": {"dir": str(directory / "journal"), "segment_bytes": 1 << 20, "max_bytes": 1 << 26},
        "parquet": {"output_dir": str(directory / "data")},
        "observability": {"metrics_port": 0, "metrics_addr": "127.0.0.1"},
    }
    return json.dumps(written)


FILES = {"cert": "server.pem", "key": "server.key", "ca": "ca.pem"}


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    authority, _ = Authority.create(tmp_path)
    authority.issue_server("collector", ["127.0.0.1"], file="server")
    authority.issue_node("gpu-7")
    return tmp_path


async def test_rates_fall_while_the_collector_puts_off_and_recover_when_its_quota_is_raised(certificates: Path) -> None:
    directory, file = certificates, certificates / "collector.yaml"
    file.write_text(document(directory, {"points_per_sec": 100}))
    collector = Collector(load(file, DiscoveredSections(WRITERS)))
    await collector.start()
    values = {
        "collectors": (Address.parse(collector.listen_addr),),
        "interval_secs": 0.05,
        "spool_dir": None,
        "sampling": {"step_secs": 0.2},
        "drain_secs": 30.0,
        "resources": NO_BUDGETS,
    }
    files = {"tls_cert_path": directory / "gpu-7.pem", "tls_key_path": directory / "gpu-7.key"}
    security = AgentSecurity(**files, tls_ca_path=directory / "ca.pem")
    plenty, vital, registry = Plenty(), Vital(), CollectorRegistry()
    config = NodeAgentConfig.model_validate({**values, "sources": ("cpu",)})
    running = NodeAgent(config, security, registry, sources=[plenty, vital])

    def rate() -> float:
        return running.stats.sampling_rates["*"]

    def left_out() -> float:
        return registry.get_sample_value("telemetry_collector_agent_points_shed_total", {"pattern": "*"}) or 0.0

    await running.start()
    try:
        await until(lambda: rate() < 0.5, 30)
        assert running.stats.sender.batches_retried > 0
        shed = left_out()
        # Whole readings are left out, and a source of which nothing is due is not even read.
        assert shed > 0
        assert shed % POINTS == 0
        stats = running.stats
        # On a busy machine a reading may not be done in its time; that is counted, and no matter of sampling.
        assert plenty.readings < stats.samples <= vital.readings + stats.source_failures["vital"]
        assert running.stats.sampling_rates["service.*"] == 1.0
        file.write_text(document(directory, {"points_per_sec": 1_000_000}))
        await collector.reload()
        await until(lambda: rate() == 1.0, 30)
        shed = left_out()
        before = running.stats.samples
        await until(lambda: running.stats.samples >= before + 5)
        assert left_out() == shed, "nothing is left out any more"
    finally:
        await running.stop()
        await collector.stop()
    sent = running.stats.sender
    assert sent.points_acknowledged == sent.points_offered, "what was read arrived"
    assert not sent.dropped_by_reason
