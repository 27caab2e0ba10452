"""What a running collector has in memory of others' libraries: nothing that it does not use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.documents import collector_document

from telemetry_collector.security.authority import set_up

UNUSED = ("pyarrow", "numpy", "duckdb", "influxdb_client", "grpc", "google.protobuf", "rich", "aiohttp", "snappy")
"""Each is megabytes, and for what few ask for: compaction in another process, questions, other writers and doors, and
commands that draw. snappy is there for tests alone, but some collector's environment may have it."""

SCRIPT = """
import asyncio, json, sys
from telemetry_collector.app.collector import Collector
from telemetry_collector.config import WRITERS, DiscoveredSections, load

async def run():
    collector = Collector(load(sys.argv[1], DiscoveredSections(WRITERS)))
    await collector.start()
    await collector.stop()

asyncio.run(run())
print(json.dumps(list(sys.modules)))
"""


def test_a_collector_that_writes_parquet_loads_no_library_that_it_does_not_use(tmp_path: Path) -> None:
    files = set_up(tmp_path / "certs", node="node-1")
    document = json.dumps(collector_document(tmp_path, files, "quinn"))
    done = subprocess.run([sys.executable, "-c", SCRIPT, document], check=True, capture_output=True, text=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "telemetry_collector.writers.parquet" in loaded
    assert loaded.intersection(UNUSED) == set()
