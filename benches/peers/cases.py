"""What is compared: each peer with its configuration, its destinations, and when it says that a batch is taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benches.peers import payloads, programs
from benches.peers.load import Send, grpc_sender, http_sender
from telemetry_collector.bench.reference import Readings


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody else's collector."""

    title: str
    acknowledged_when: str
    encode: Callable[[Readings], bytes]
    connect: Callable[[int], Send]
    """Connects to its port."""
    command: Callable[[Path, int, bool, str | None], list[str | Path]]
    """Configured in a directory for a port, to write files or not, and to a database where its address is given."""
    rows: Callable[[Path], int]
    """Points in the files that it left below a directory."""


@dataclass(frozen=True, slots=True)
class Case:
    """A peer with destinations."""

    peer: Peer
    title: str
    files: bool
    database: bool


def _telegraf(directory: Path, port: int, files: bool, database: str | None) -> list[str | Path]:
    outputs = ""
    if files:
        outputs += f'[[outputs.parquet]]\n  directory = "{directory / "files"}"\n'
    if database is not None:
        outputs += f"""[[outputs.influxdb_v2]]
  urls = ["{database}"]
  token = "bench"
  organization = "bench"
  bucket = "bench"
  content_encoding = "identity"
"""
    config = directory / "telegraf.conf"
    config.write_text(f"""[agent]
  metric_batch_size = 5000
  metric_buffer_limit = 1000000
  flush_interval = "1s"
  omit_hostname = true
  quiet = true
[[inputs.influxdb_v2_listener]]
  service_address = "127.0.0.1:{port}"
  parser_type = "upstream"
  max_undelivered_metrics = 200000
{outputs or "[[outputs.discard]]"}
""")
    return [programs.telegraf(), "--config", config]


def _parquet_rows(files: Path) -> int:
    return sum(pq.read_metadata(path).num_rows for path in files.glob("*.parquet"))


def _otelcol(directory: Path, port: int, files: bool, database: str | None) -> list[str | Path]:
    exporters: dict[str, Any] = {}
    if files:
        exporters["file"] = {"path": str(directory / "files" / "otlp"), "format": "proto", "compression": "zstd"}
    if database is not None:
        exporters["prometheusremotewrite"] = {
            "endpoint": f"{database}/api/v1/write",
            # Otherwise the node's tags are on none of its series.
            "resource_to_telemetry_conversion": {"enabled": True},
            "target_info": {"enabled": False},
        }
    exporters = exporters or {"nop": {}}
    config = directory / "otelcol.json"
    pipeline = {"receivers": ["otlp"], "processors": ["batch"], "exporters": list(exporters)}
    document = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{port}"}}}},
        "processors": {"batch": {}},
        "exporters": exporters,
        "service": {
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
            "pipelines": {"metrics": pipeline},
        },
    }
    config.write_text(json.dumps(document))
    return [programs.otelcol(), "--config", config]


def _otlp_rows(files: Path) -> int:
    """Each message stands behind its length, and is compressed by itself."""
    rows = 0
    for path in files.iterdir():
        with path.open("rb") as file:
            while prefix := file.read(4):
                message = file.read(int.from_bytes(prefix, "big"))
                rows += payloads.otlp_points(pa.input_stream(pa.BufferReader(message), compression="zstd").read())
    return rows


TELEGRAF = Peer(
    title=f"Telegraf {programs.TELEGRAF_VERSION}",
    acknowledged_when="it is parsed, in memory",
    encode=payloads.lines,
    connect=lambda port: http_sender(port, "/api/v2/write?precision=ms"),
    command=_telegraf,
    rows=_parquet_rows,
)
OTELCOL = Peer(
    title=f"OTel Collector {programs.otelcol_version()}",
    acknowledged_when="it is in the batch processor's memory",
    encode=payloads.otlp,
    connect=grpc_sender,
    command=_otelcol,
    rows=_otlp_rows,
)

PEERS = {
    "telegraf-discard": Case(TELEGRAF, f"{TELEGRAF.title} → nowhere", files=False, database=False),
    "telegraf-parquet": Case(TELEGRAF, f"{TELEGRAF.title} → Parquet", files=True, database=False),
    "telegraf-database": Case(TELEGRAF, f"{TELEGRAF.title} → VictoriaMetrics, lines", files=False, database=True),
    "telegraf-both": Case(TELEGRAF, f"{TELEGRAF.title} → both", files=True, database=True),
    "otelcol-nop": Case(OTELCOL, f"{OTELCOL.title} → nowhere", files=False, database=False),
    "otelcol-file": Case(OTELCOL, f"{OTELCOL.title} → file (OTLP, zstd)", files=True, database=False),
    "otelcol-database": Case(OTELCOL, f"{OTELCOL.title} → VictoriaMetrics, remote write", files=False, database=True),
    "otelcol-both": Case(OTELCOL, f"{OTELCOL.title} → both", files=True, database=True),
}
"""By what `--only` calls them."""

WRITERS = {"journal": "none", "parquet": "parquet", "both": "parquet,influxdb"}
OURS = {
    f"ours-{transport}-{kept}": (transport, writers)
    for transport in ("aioquic", "quinn")
    for kept, writers in WRITERS.items()
}
"""Transport and writers, as `telemetry-collector bench` takes them."""
OUR_FORM = "dense"
OURS_ACKNOWLEDGED_WHEN = "it is in the journal, after its fdatasync"
