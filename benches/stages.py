"""What each stage of the core costs a point, without network and disk: benches/rust/stages.rs, as a table."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

from benches.figures import Figure

COMMAND = ("cargo", "bench", "--quiet", "--locked", "--package", "telemetry-core", "--bench", "stages")
GOALS = {
    "row, 10 readings of 100 series: decode and admit": 150.0,
    "columnar, 10 readings of 100 series: decode and admit": 15.0,
}
"""Nanoseconds a point, on the reference data set's shape of batches."""


def measure() -> Iterator[Figure]:
    """Medians of the measuring thread's processor time."""
    printed = subprocess.run(COMMAND, check=True, capture_output=True, text=True).stdout
    for line in printed.splitlines():
        if line.startswith("{"):
            found = json.loads(line)
            spread = f"15 × 63,000 points, {found['min']:.1f} to {found['max']:.1f}"
            yield Figure(found["stage"], found["ns"], "ns a point", GOALS.get(found["stage"]), spread=spread)
