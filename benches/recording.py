"""`python -m benches.recording FILE [SECONDS]`: what the agent reads on this machine, to measure with again and again.

A whole agent reads at its default interval and sends to a collector, so that its own metrics are those of one at work.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from telemetry_collector.agent import NodeAgent, NodeAgentConfig
from telemetry_collector.demo import run_demo, stage
from telemetry_collector.sender import TimedPoints

SECONDS = 630.0
READINGS = 60
"""Ten minutes at the default interval. The first reading is left out: what it tells of the time before is nothing."""


class Recording:
    """Readings, with every series once."""

    def __init__(self) -> None:
        self.common_tags: tuple[tuple[str, str], ...] = ()
        self._places: dict[tuple[str, tuple[tuple[str, str], ...], int, str], int] = {}
        self._readings: list[dict[str, Any]] = []

    def take(self, timestamp_unix_ns: int, points: Any) -> None:
        """Adds what was read at one time."""
        keys = [(point.name, point.tags, int(point.type), point.unit) for point in points]
        self._readings.append(
            {
                "timestamp_unix_ns": timestamp_unix_ns,
                "series": [self._places.setdefault(key, len(self._places)) for key in keys],
                "values": [point.value for point in points],
            }
        )

    def write(self, path: Path) -> None:
        """One series and one reading a line."""
        lists: dict[str, list[Any]] = {"series": list(self._places), "readings": self._readings[1 : READINGS + 1]}
        parts = [f'"common_tags": {json.dumps(self.common_tags)}']
        for name, rows in lists.items():
            lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
            parts.append(f'"{name}": [\n{lines}\n]')
        path.write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")


def main() -> None:
    """Records until the time is over."""
    path, secs = Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    recording = Recording()
    offer = NodeAgent._offer

    def recorded(self: NodeAgent, readings: list[TimedPoints]) -> None:
        recording.common_tags = self._tags
        for timestamp, points in readings:
            recording.take(timestamp, points)
        offer(self, readings)

    NodeAgent._offer = recorded  # type: ignore[method-assign]
    stage.SAMPLE_INTERVAL_SECS = NodeAgentConfig().interval_secs
    with tempfile.TemporaryDirectory() as directory:
        run_demo(secs, as_json=True, data_dir=Path(directory), certs_dir=Path(directory) / "certs")
    recording.write(path)


if __name__ == "__main__":
    main()
