"""Whether a dataset is the one that a collector writes: something is in the making there as soon as it has points."""

from __future__ import annotations

from pathlib import Path
from typing import Final, final

from telemetry_collector.bench.plan import PlanError
from telemetry_collector.errors import TelemetryCollectorError
from telemetry_collector.store.dataset import STAGING

BEGUN_SECS_MAX: Final = 10.0
"""A writer begins a file with the first block that it gets; so long after the first acknowledgement there is one."""


@final
class Destination:
    """A dataset of a collector that is not the bench's, from before the load on."""

    def __init__(self, root: Path) -> None:
        """PlanError where no collector has ever written."""
        self._root = root
        if not (root / STAGING).is_dir():
            raise PlanError(
                f"--dataset {root}: no collector has written there, it has no {STAGING}; "
                "expected the target's parquet.output_dir"
            )
        self._before = _files(root)
        self._acknowledged_at: float | None = None
        self._begun = False

    def look(self, points_acknowledged: int, now: float) -> None:
        """Takes how many points are acknowledged at a moment of the monotonic clock.

        TelemetryCollectorError when there have been some for a while, and nobody writes here. A file that was in the
        making before may be the one that they go to: then only what is stored in the end can tell.
        """
        if self._begun or not points_acknowledged:
            return
        if self._acknowledged_at is None:
            self._acknowledged_at = now
        files = _files(self._root)
        self._begun = files != self._before or any(path.parent.name == STAGING for path in files)
        if not self._begun and now - self._acknowledged_at >= BEGUN_SECS_MAX:
            raise TelemetryCollectorError(
                f"--dataset {self._root}: {BEGUN_SECS_MAX:.0f} s after the first acknowledgement no file is begun "
                "there; expected the target's parquet.output_dir, and that its writer works (failing_writers in /ready)"
            )


def _files(root: Path) -> set[Path]:
    return {*root.glob(f"{STAGING}/*"), *root.glob("date=*/hour=*/*.parquet")}
