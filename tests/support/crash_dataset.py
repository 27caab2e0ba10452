"""A process that publishes parts and compacts their hour, and is killed at a step: `python -m … ROOT STEP`.

It prints each end that it was told was published, as a journal's cursor would be stored, before it goes on.
"""

import os
import signal
import sys
from pathlib import Path

from tests.support.blocks import HOUR, blocks_of
from tests.support.dataset import joiner, opened, publish

from telemetry_collector.clock import ManualClock
from telemetry_collector.store.compaction import Compactor, Failed
from telemetry_collector.store.dataset import REPLACED_KEPT_SECS

POINTS = 60
PART_POINTS = 10
LATER = (HOUR + 1) * 3600 + 100.0


def work(root: Path, kill_at: int) -> int:
    """Brings the dataset from wherever it is to all points in one file; returns the steps that it took."""
    taken = 0

    def step(_: str) -> None:
        nonlocal taken
        taken += 1
        if taken == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    clock = ManualClock()
    dataset = opened(root, step, clock)
    for start in range(dataset.published_end, POINTS, PART_POINTS):
        publish(dataset, blocks_of(PART_POINTS, start, first=start))
        print(start + PART_POINTS, flush=True)  # noqa: T201  # what the test reads
    compactor = Compactor(
        dataset, joiner(dataset), compression="snappy", file_bytes_max=1 << 30, period_secs=3600, settle_secs=0
    )
    for outcome in compactor.run(LATER):
        if isinstance(outcome, Failed):
            raise outcome.error
    clock.advance(REPLACED_KEPT_SECS)
    dataset.remove_replaced()
    dataset.close()
    return taken


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]))
