"""What a machine can take, as a command that anybody can run: a fleet's load, and an account of what became of it.

    plan          what was asked for
    measurement   does it: a collector of its own, or somebody else's; then reads what was stored
    reference     the data set
    frames        its batches as bytes, and the lanes that they go by
    load          what every load does
    core_load     one in the core, over quinn: the fastest
    sender_load   one over the sender's connections, that always works; session is what each of them sends
    site          the files
    children      the processes, and what they took
    verification  what is stored against what was acknowledged, by the fingerprint of each batch
    result        the figures
    view          what a person sees meanwhile

The collector is the product itself, in a process of its own, as is whatever it writes to.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from telemetry_collector.bench.measurement import AtRest, Measurement
from telemetry_collector.bench.plan import Plan, PlanError, Target
from telemetry_collector.bench.result import Result, as_json
from telemetry_collector.bench.view import BenchView

__all__ = ["Plan", "PlanError", "Result", "Target", "run_bench"]


async def _run(measurement: Measurement) -> Result:
    running = asyncio.create_task(measurement.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.cancel)
    return await running


def run_bench(
    plan: Plan, *, data_dir: Path, keep: Path | None, as_json_wanted: bool, at_rest: AtRest | None = None
) -> int:
    """Measures, and prints what came of it; 0 only when what was acknowledged is what is stored.

    The files stand in a directory of their own below `data_dir` and are removed at the end; with `keep`, they stand in
    that directory and stay. So do those of a run that could not be verified. `at_rest` is called with the dataset
    before it is read.
    """
    directory = keep or data_dir / f"bench-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
    if keep is not None and keep.exists():
        raise PlanError(f"--keep {keep}: exists; expected a directory that is not there yet")
    result = None
    try:
        with BenchView(quiet=as_json_wanted, seconds=plan.seconds) as view:
            result = uvloop.run(_run(Measurement(plan, directory.resolve(), view, at_rest)))
    except asyncio.CancelledError:
        sys.stderr.write("given up before anything was counted\n")
        return 1
    finally:
        if keep is None and (result is None or result.verified is not False):
            shutil.rmtree(directory, ignore_errors=True)
            result = result and result.without_directory()
    sys.stdout.write((as_json(result) if as_json_wanted else str(result)) + "\n")
    return 0 if result.verified else 1
