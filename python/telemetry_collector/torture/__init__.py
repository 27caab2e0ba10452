"""The proof that nothing acknowledged is lost and nothing is stored twice, as a command that anybody can run.

    plan      what is done when, decided by a seed
    ordeal    does it: collectors behind relays, agents, databases; then lets everything come to rest
    children  the processes, and what can be done to their disks
    agent     an agent to be killed; its diary says what it was told
    relay     the network; link is what it does to a datagram
    sink      the database
    watcher   reads the datasets all the time
    audit     what agents were told against what the datasets hold
    result    what came of it

Everything that is tortured is the product itself, in processes of its own, on loopback.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from telemetry_collector.torture.ordeal import Ordeal
from telemetry_collector.torture.result import Result, as_json
from telemetry_collector.torture.site import TRANSPORTS
from telemetry_collector.torture.view import TortureView


async def _run(ordeal: Ordeal, seconds: float, kills_max: int | None) -> Result:
    stopping = asyncio.Event()
    running = asyncio.create_task(ordeal.run(seconds, kills_max, stopping))

    def asked_to_stop() -> None:
        # The first time it lets things come to rest and counts; whoever asks again wants it to end.
        if stopping.is_set():
            running.cancel()
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_stop)
    return await running


def run_torture(
    *,
    minutes: float,
    kills: int | None,
    seed: int | None,
    transport: str | None,
    data_dir: Path,
    keep: bool,
    json_wanted: bool,
    verbose: bool,
) -> int:
    """Runs it and prints what came of it; 0 when nothing was lost, doubled or unreadable and nothing else was wrong.

    Every collector listens with `transport`, or without one they take turns.
    The files of a run in which all was well are removed, unless `keep`.
    """
    seed = secrets.randbelow(1 << 32) if seed is None else seed
    directory = (data_dir / f"torture-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}").resolve()
    with TortureView(quiet=json_wanted, verbose=verbose, seconds=minutes * 60) as view:
        view.say(f"seed {seed}; everything is in {directory}")
        ordeal = Ordeal(directory, seed, view.happened, (transport,) if transport else TRANSPORTS)
        view.watch(ordeal.result)
        try:
            result = uvloop.run(_run(ordeal, minutes * 60, kills))
        except asyncio.CancelledError:
            view.say(f"given up before anything was counted; the files are in {directory}")
            return 1
    if result.ok and not keep:
        shutil.rmtree(directory)
        result.directory = None
    sys.stdout.write((as_json(result) if json_wanted else str(result)) + "\n")
    return 0 if result.ok else 1
