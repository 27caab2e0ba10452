"""What every service does around its work: wait for the signal to stop, stay in touch with systemd, print a summary."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from telemetry_collector.observe.systemd import ServiceManager


def stop_signals() -> asyncio.Event:
    """An event that is set by SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


async def reload_on_signal(reload: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Has SIGHUP reload, for ever, one reload at a time: signals that come meanwhile are one more when it is done."""
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
    while True:
        await asked.wait()
        asked.clear()
        await reload()


async def until(stopping: asyncio.Event, manager: ServiceManager) -> None:
    """Waits for the event, telling the service manager meanwhile that we are alive."""
    while not stopping.is_set():
        manager.alive()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), manager.watchdog_secs)


def print_summary(summary: dict[str, Any], *, as_json: bool) -> None:
    """Prints what was done, for a machine or for a person."""
    sys.stdout.write((json.dumps(summary) if as_json else _in_words(summary)) + "\n")
    sys.stdout.flush()


def _in_words(summary: dict[str, Any]) -> str:
    lines = [f"{key.replace('_', ' '):<24} {value}" for key, value in summary.items() if key != "writers"]
    for name, writer in summary.get("writers", {}).items():
        refused = f", {writer['points_refused']} refused" if writer["points_refused"] else ""
        lines.append(f"{'written by ' + name:<24} {writer['points_written']} points{refused}")
    return "\n".join(lines)
