"""What a point takes on the wire, and what writing and reading it costs: benches/rust/wire.rs, as a table."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

from benches.figures import Figure

COMMAND = ("cargo", "bench", "--quiet", "--locked", "--package", "telemetry-core", "--bench", "wire")
GOALS = {
    "reference, 1 batches a stream: dense, zstd": 3.0,
    "reference, 10 batches a stream: dense, zstd": 3.0,
    "node, 1 readings a batch: dense, zstd": 2.0,
    "node, 6 readings a batch: dense, zstd": 2.0,
    "node later, 1 readings a batch: dense, zstd": 2.0,
}
"""Bytes of frames a point, definitions included."""


def measure() -> Iterator[Figure]:
    """Bytes; and medians of the measuring thread's processor time."""
    printed = subprocess.run(COMMAND, check=True, capture_output=True, text=True).stdout
    for line in printed.splitlines():
        if line.startswith("{"):
            found = json.loads(line)
            name = f"{found['data']}: {found['form']}"
            cost = f"{found['encode_ns']:.1f} ns to write, {found['decode_ns']:.1f} ns to read"
            yield Figure(name, found["bytes"], "bytes a point", GOALS.get(name), spread=cost)
