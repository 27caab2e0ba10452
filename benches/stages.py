"""What each stage of the core costs a point, without network and disk: benches/rust/stages.rs, as a table."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benches.figures import Figure

COMMAND = ("cargo", "bench", "--quiet", "--locked", "--package", "telemetry-core", "--bench", "stages")
GOALS = {
    "10 readings of 100 series/row: decode and admit": 150.0,
    "10 readings of 100 series/columnar: decode and admit": 15.0,
}
"""Nanoseconds a point, on the reference data set's shape of batches."""


def measure() -> Iterator[Figure]:
    """Medians of the measuring thread's processor time, with their confidence intervals."""
    with tempfile.TemporaryDirectory() as results:
        subprocess.run(COMMAND, check=True, capture_output=True, env={**os.environ, "CRITERION_HOME": results})
        # In the order that they were measured in.
        found = sorted(Path(results).glob("*/*/new/estimates.json"), key=lambda path: path.stat().st_mtime_ns)
        for path in found:
            bench = json.loads(path.with_name("benchmark.json").read_text())
            points = bench["throughput"]["Elements"]
            median = json.loads(path.read_text())["median"]
            ns = median["point_estimate"] / points
            interval = median["confidence_interval"]
            lower, upper = interval["lower_bound"] / points, interval["upper_bound"] / points
            goal = GOALS.get(bench["full_id"])
            yield Figure(bench["title"], ns, "ns a point", goal, spread=f"95 % sure: {lower:.1f} to {upper:.1f}")
