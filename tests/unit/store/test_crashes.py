"""kill -9 at every step of publishing and compacting: readers lose nothing, see nothing twice, and work goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.crash_dataset import POINTS, work
from tests.support.dataset import names, values
from tests.support.writing import JOURNAL_ID

from telemetry_collector.store.part import PartName

ALL = [float(value) for value in range(POINTS)]


def killed(root: Path, step: int) -> int:
    """Runs the process until it dies at the step; the last end that it knew was published."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.support.crash_dataset", str(root), str(step)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(["python", ".", *sys.path])},
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    return int(process.stdout.split()[-1]) if process.stdout else 0


@pytest.mark.slow
def test_whatever_the_step_nothing_is_lost_or_seen_twice(tmp_path: Path) -> None:
    steps = work(tmp_path / "whole", kill_at=0)
    assert names(tmp_path / "whole") == [str(PartName(JOURNAL_ID, 0, POINTS))]
    # The first part's steps, one later part's, and all of compaction.
    for step in [*range(1, 7), *range(steps - 6, steps + 1)]:
        root = tmp_path / str(step)
        known = killed(root, step)
        seen = values(root) if names(root) else []
        assert seen == ALL[: len(seen)], f"after step {step}"
        assert len(seen) >= known, f"after step {step}"
        work(root, kill_at=0)
        assert values(root) == ALL, f"after step {step} and a restart"
        assert names(root) == [str(PartName(JOURNAL_ID, 0, POINTS))]
        assert list((root / ".staging").iterdir()) == []
