"""The files of a run, below one directory: certificates, configurations, journals, datasets, spools, diaries, logs."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from telemetry_collector.loopback import free_port
from telemetry_collector.security.authority import Authority, set_up
from telemetry_collector.torture.agent import Settings
from telemetry_collector.torture.children import AgentChild, CollectorChild

MIB = 1024 * 1024
# Small, so that segments, checkpoints and compactions come often.
SEGMENT_BYTES = MIB
JOURNAL_BYTES_MAX = 64 * MIB
SPOOL_BYTES_MAX = 64 * MIB
FLUSH_INTERVAL_SECS = 0.5
ROTATION_INTERVAL_SECS = 15
BATCHES_PER_SEC = 12.0
POINTS_MAX = 300
# What collectors listen with, in turns: one of each, so that agents fail over between the two as well.
TRANSPORTS = ("aioquic", "quinn")
# Agents' disks forget other things than collectors'.
AGENT_SEEDS = 1_000


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a collector is: what agents and the outside see of it."""

    listen_port: int
    metrics_port: int
    sink_url: str
    transport: str


class Site:
    """The directory, and what is made in it before a run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True)
        self._files = set_up(directory / "certs", node="torture-0")
        self._authority = Authority.open(directory / "certs")

    def dataset(self, collector: int) -> Path:
        """The Parquet dataset of a collector."""
        return self.directory / f"collector-{collector}" / "parquet"

    def diary(self, agent: int) -> Path:
        """What an agent was told."""
        return self.directory / f"agent-{agent}" / "diary"

    @staticmethod
    def identity(agent: int) -> str:
        """What an agent's certificate says."""
        return f"spiffe://telemetry/node/torture-{agent}"

    def collector(self, number: int, seat: Seat, seed: int) -> CollectorChild:
        """A collector that was not started yet."""
        home = self.directory / f"collector-{number}"
        home.mkdir()
        document = home / "collector.yaml"
        document.write_text(json.dumps(self._collector_config(home, seat), indent=2) + "\n")
        return CollectorChild(
            f"collector {number}", home / "log", seed + number, document=document, ready_port=seat.metrics_port
        )

    def agent(self, number: int, ports: tuple[int, ...], seed: int) -> AgentChild:
        """An agent that was not started yet; `ports` of its collectors, the preferred one first."""
        home = self.directory / f"agent-{number}"
        home.mkdir()
        certificates = self._files.ca.parent
        if number:
            self._authority.issue_node(f"torture-{number}")
        name = "node" if number == 0 else f"torture-{number}"
        settings = Settings(
            agent=number,
            life=0,
            fault_fd=-1,
            ports=ports,
            certificate=str(certificates / f"{name}.pem"),
            key=str(certificates / f"{name}.key"),
            authority=str(self._files.ca),
            spool=str(home / "spool"),
            spool_bytes_max=SPOOL_BYTES_MAX,
            diary=str(self.diary(number)),
            batches_per_sec=BATCHES_PER_SEC,
            points_max=POINTS_MAX,
        )
        return AgentChild(f"agent {number}", home / "log", seed + AGENT_SEEDS + number, settings)

    @staticmethod
    def ports() -> tuple[int, int]:
        """A UDP port for a collector, and a TCP port for its metrics."""
        return free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)

    def _collector_config(self, home: Path, seat: Seat) -> dict[str, Any]:
        files = self._files
        return {
            "server": {"listen_addr": f"127.0.0.1:{seat.listen_port}", "transport": seat.transport},
            "security": {
                "tls_cert_path": str(files.server_certificate),
                "tls_key_path": str(files.server_key),
                "tls_ca_path": str(files.ca),
            },
            "journal": {"dir": str(home / "journal"), "segment_bytes": SEGMENT_BYTES, "max_bytes": JOURNAL_BYTES_MAX},
            "parquet": {
                "output_dir": str(home / "parquet"),
                "flush_interval_secs": FLUSH_INTERVAL_SECS,
                "rotation_interval_secs": ROTATION_INTERVAL_SECS,
            },
            "influxdb": {
                "url": seat.sink_url,
                "org": "torture",
                "bucket": "torture",
                "token": "none",
                "flush_interval_secs": FLUSH_INTERVAL_SECS,
                "timeout_secs": 3,
                "retry_secs_max": 1,
            },
            "api": {"http_port": None},
            "observability": {"metrics_addr": "127.0.0.1", "metrics_port": seat.metrics_port, "log_format": "json"},
        }
