"""What the journal takes of the whole collector's throughput, flat out over QUIC with Parquet written: the journal on
a disk and, in turns, on a file system in memory, where an fdatasync costs nothing.

The share of the collector's processor time that the journal's own threads take (writing, synchronizing, preparing
segments) is counted in the same runs. What appending a record costs the thread that ingests is in `durability`.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benches.collector import Collector, collector
from benches.figures import Figure
from benches.reference import NODE, batch, series

SECONDS = 8
ROUNDS = 3
LOST_PERCENT_MAX = 10.0
IN_MEMORY = Path("/dev/shm")
_TICKS_PER_SEC = os.sysconf("SC_CLK_TCK")


def measure() -> Iterator[Figure]:
    """Medians of the rounds."""
    disk, memory, shares = [], [], []
    for _ in range(ROUNDS):
        rate, share = _run(None)
        disk.append(rate)
        shares.append(share)
        memory.append(_run(IN_MEMORY)[0])
    on_disk, in_memory = statistics.median(disk), statistics.median(memory)
    over = f"{ROUNDS} rounds of {SECONDS} s: {on_disk:,.0f} points/s on disk, {in_memory:,.0f} in memory"
    lost = 100 * (1 - on_disk / in_memory)
    yield Figure("ingest over QUIC: throughput lost to the journal's disk", lost, "%", LOST_PERCENT_MAX, spread=over)
    share = 100 * statistics.median(shares)
    over = "of all processor time of the collector, in the same rounds"
    yield Figure("the journal's own threads", share, "%", LOST_PERCENT_MAX, spread=over)


def _run(journal_parent: Path | None) -> tuple[float, float]:
    """Points a second, and the share of the processor time that the journal's threads took."""
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory(dir=journal_parent) as elsewhere:
        journal = Path(elsewhere) / "journal" if journal_parent is not None else None
        with collector(Path(directory), NODE, quotas=False, journal=journal) as running:
            return asyncio.run(_flat_out(running))


async def _flat_out(running: Collector) -> tuple[float, float]:
    sender = running.sender(NODE)
    await sender.start()
    definitions = series()
    await sender.put(batch(time.time_ns(), definitions))
    await sender.drained()
    start, acknowledged = time.monotonic(), sender.stats.points_acknowledged
    while time.monotonic() - start < SECONDS:
        await sender.put(batch(time.time_ns(), definitions))
    await sender.drained()
    rate = (sender.stats.points_acknowledged - acknowledged) / (time.monotonic() - start)
    await sender.stop()
    return rate, _journal_share(running.pid)


def _journal_share(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    own = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().startswith("journal-"):
            # Behind the name, which may hold blanks: utime and stime are the 12th and 13th.
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            own += (int(fields[11]) + int(fields[12])) / _TICKS_PER_SEC
    return own / (times.user + times.system)
