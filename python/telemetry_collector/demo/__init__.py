"""The whole collector on one machine, for a first look: `stage` runs it, `view` shows it, `summary` has the counts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from telemetry_collector.demo.stage import Demo
from telemetry_collector.demo.summary import Summary
from telemetry_collector.demo.view import DemoView, render_summary

REFRESH_SECS = 1.0


async def _run(seconds: float | None, as_json: bool, directory: Path, certs: Path) -> Summary:
    view = DemoView(quiet=as_json)
    demo = Demo(directory, certs, view.say)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    try:
        view.say(f"starting a collector and an agent; everything is kept in {directory}")
        await demo.start()
        with view:
            while not stopping.is_set() and (seconds is None or demo.seconds < seconds):
                view.show(await demo.moment())
                rest = REFRESH_SECS if seconds is None else min(REFRESH_SECS, max(seconds - demo.seconds, 0.01))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), rest)
        return await demo.stop()
    finally:
        await demo.abort()


def run_demo(seconds: float | None, *, as_json: bool, data_dir: Path, certs_dir: Path) -> int:
    """Runs the demo and prints its summary; 0 when every acknowledged point was found in the files, else 1."""
    directory = data_dir / f"demo-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
    summary = uvloop.run(_run(seconds, as_json, directory, certs_dir))
    sys.stdout.write((json.dumps(asdict(summary)) if as_json else render_summary(summary)) + "\n")
    return 0 if summary.consistent else 1
