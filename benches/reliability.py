"""What durability costs: the journal beside a run without it, recovery, dedup memory, and compaction's memory."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

from benches import compaction, journal_cost
from benches.figures import Figure

COMMAND = ("cargo", "bench", "--quiet", "--locked", "--package", "telemetry-core", "--bench")
JOURNAL_PERCENT = 10.0
RECOVERY_SECS = 5.0
NAME_BYTES = 100.0


def measure() -> Iterator[Figure]:
    """benches/rust/names.rs, journal_cost.py, benches/rust/durability.rs as a table, then compaction.py."""
    for found in _printed("names"):
        if "bytes" in found:
            yield Figure(found["stage"], found["bytes"], "bytes each", NAME_BYTES, spread="the name included")
        else:
            yield Figure(found["stage"], found["ns"], "ns a batch", None, spread=f"from {found['min']:.0f}")
    yield from journal_cost.measure()
    without: dict[str, Any] = {}
    for found in _printed("durability"):
        stage: str = found["stage"]
        if stage.startswith("recovery"):
            over = f"{found['records']:,} records, peak {found['peak_mb']:.0f} MB"
            yield Figure(stage, found["seconds"], "s", RECOVERY_SECS, spread=over)
        elif stage.endswith(", without"):
            without = found
        else:
            wall, cpu = (100 * (1 - without[key] / found[key]) for key in ("wall_ns", "cpu_ns"))
            over = f"{without['wall_ns']:.1f} ns a point without, {found['wall_ns']:.1f} with; {cpu:.0f} % of all CPU"
            yield Figure(f"{stage}: throughput lost", wall, "%", JOURNAL_PERCENT, spread=over)
    yield from compaction.measure()


def _printed(bench: str) -> Iterator[dict[str, Any]]:
    printed = subprocess.run([*COMMAND, bench], check=True, capture_output=True, text=True).stdout
    yield from (json.loads(line) for line in printed.splitlines() if line.startswith("{"))
