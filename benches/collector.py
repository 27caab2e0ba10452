"""A collector in a process of its own, with its own directory, and a database for it to write to."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from telemetry_collector.config import Address, Quota
from telemetry_collector.loopback import free_port
from telemetry_collector.security.authority import Authority, set_up
from telemetry_collector.sender import DeliverySettings, Sender, TransportSettings

START_SECS_MAX = 30.0
STOP_SECS_MAX = 60.0


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:  # loopback only
        body: bytes = answer.read()
        return body


def _until_up(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            _get(url)
            return
        time.sleep(0.05)
    raise RuntimeError(f"no answer from {url}; the end of {log}:\n{log.read_text(errors='replace')[-2000:]}")


@contextlib.contextmanager
def process(command: list[str], url: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs until the end of the block; `url` answers when it is up."""
    with log.open("wb") as output:
        started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            _until_up(started, url, log)
            yield started
        finally:
            started.send_signal(signal.SIGTERM)
            started.wait(STOP_SECS_MAX)


@contextlib.contextmanager
def database(directory: Path) -> Iterator[str]:
    """VictoriaMetrics; its address."""
    address = f"127.0.0.1:{free_port(socket.SOCK_STREAM)}"
    command = ["victoria-metrics", f"-storageDataPath={directory / 'database'}", f"-httpListenAddr={address}"]
    with process(command, f"http://{address}/health", directory / "database.log"):
        yield f"http://{address}"


@dataclass(frozen=True, slots=True)
class Collector:
    """One that runs."""

    pid: int
    address: Address
    metrics_url: str
    receivers: Mapping[str, str]
    """Where other protocols are taken."""
    certs: Path
    dataset: Path

    def metrics(self) -> dict[str, float]:
        """The samples of /metrics by name with labels."""
        samples = (line.rpartition(" ") for line in _get(self.metrics_url).decode().splitlines() if line[:1] != "#")
        return {name: float(value) for name, _, value in samples}

    def resident_mb(self) -> float:
        """Resident memory of its process."""
        return psutil.Process(self.pid).memory_info().rss / 1e6

    def sender(self, node: str) -> Sender:
        """An agent's connection to it, not started."""
        return Sender(
            TransportSettings(
                endpoints=(self.address,),
                cert_path=self.certs / f"{node}.pem",
                key_path=self.certs / f"{node}.key",
                ca_path=self.certs / "ca.pem",
                server_name="localhost",
            ),
            delivery=DeliverySettings(compression="none"),
        )


@contextlib.contextmanager
def collector(
    directory: Path,
    node: str,
    *,
    influxdb_url: str | None = None,
    quotas: bool = True,
    flush_interval_secs: float = 2.0,
    journal: Path | None = None,
    parquet: bool = True,
    receivers: Sequence[str] = (),
) -> Iterator[Collector]:
    """A collector that writes Parquet, and to a database where an address is given; without quotas one node may send
    whatever the collector takes. `journal` takes the place of the directory below `directory`; `receivers` are opened
    on ports of their own."""
    certs, dataset = directory / "certs", directory / "parquet"
    set_up(certs)
    Authority.open(certs).issue_node(node)
    port, metrics_port = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
    config: dict[str, Any] = {
        "server": {"listen_addr": f"127.0.0.1:{port}", "max_connections": 2_000, "max_connections_per_identity": None},
        "security": {
            "tls_cert_path": str(certs / "server.pem"),
            "tls_key_path": str(certs / "server.key"),
            "tls_ca_path": str(certs / "ca.pem"),
        },
        "quotas": {} if quotas else {"default": dict.fromkeys(Quota.model_fields)},
        "journal": {"dir": str(journal or directory / "journal")},
        "parquet": {"output_dir": str(dataset), "flush_interval_secs": flush_interval_secs},
        "observability": {"metrics_addr": "127.0.0.1", "metrics_port": metrics_port, "log_level": "warning"},
    }
    if not parquet:
        del config["parquet"]
    addresses = {name: f"127.0.0.1:{free_port(socket.SOCK_STREAM)}" for name in receivers}
    config["receivers"] = {name: {"listen_addr": address} for name, address in addresses.items()}
    if influxdb_url is not None:
        config["influxdb"] = {"url": influxdb_url, "org": "bench", "bucket": "bench", "token": "bench"}
    path = directory / "collector.json"
    path.write_text(json.dumps(config))
    command = [sys.executable, "-m", "telemetry_collector", "run", str(path)]
    base = f"http://127.0.0.1:{metrics_port}"
    with process(command, f"{base}/ready", directory / "collector.log") as started:
        yield Collector(started.pid, Address("127.0.0.1", port), f"{base}/metrics", addresses, certs, dataset)
