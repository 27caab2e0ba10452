"""What every service does around its work: wait for signals, keep in touch with systemd, tell what was done, end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from telemetry_collector.observe.logs import logger
from telemetry_collector.observe.systemd import ServiceManager

log = logger(__name__)


def hush_grpc() -> None:
    """gRPC's core writes a line to standard error for each TLS handshake that fails, without an address and not in our
    format. From here on only its errors, unless whoever started the process says otherwise; before grpc is imported.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")


def stop_signals() -> asyncio.Event:
    """An event that is set by SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


def reload_signal() -> asyncio.Event:
    """An event that is set by SIGHUP, which would end the process if nobody listened for it."""
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
    return asked


async def reload_when(
    asked: asyncio.Event, reload: Callable[[], Coroutine[Any, Any, None]], manager: ServiceManager
) -> None:
    """Reloads whenever it is asked for, for ever: what is asked for during one reload is one more when it is done."""
    while True:
        await asked.wait()
        asked.clear()
        manager.reloading()
        try:
            await reload()
        finally:
            manager.ready()


async def unless(stopping: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Does the work, and whether it was done: it is cancelled when the event comes first."""
    working, stop = asyncio.create_task(work), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait((working, stop), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.cancel()
        await working
    except asyncio.CancelledError:
        return False
    finally:
        stop.cancel()
    return True


async def cancel(task: asyncio.Task[None]) -> None:
    """Ends a task that goes on for ever, and raises what it failed with."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def cut_short_after(secs: float) -> None:
    """Ends the process after so long, whatever still hangs: a thread in a destination that never answers, for one.

    By then nothing is left to be lost: what was acknowledged is in the journal.
    """

    def end() -> None:
        log.warning("stopping_cut_short", after_secs=secs, note="the journal keeps what is not written")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    timer = threading.Timer(secs, end)
    timer.daemon = True
    timer.start()


def ignore_signals() -> None:
    """A signal that comes after the last word was said must not change how the process ends."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)


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
    apart = ("writers", "signals")
    lines = [f"{key.replace('_', ' '):<24} {_word(value)}" for key, value in summary.items() if key not in apart]
    for name, writer in summary.get("writers", {}).items():
        refused = f", {writer['points_refused']} refused" if writer["points_refused"] else ""
        lines.append(f"{'written by ' + name:<24} {writer['points_written']} points{refused}")
    for name, rows in summary.get("signals", {}).items():
        refused = f", {rows['rows_refused']} refused" if rows["rows_refused"] else ""
        lines.append(f"{'written by ' + name:<24} {rows['rows_written']} rows{refused}")
    return "\n".join(lines)


def _word(value: object) -> str:
    """A value as a person writes it: what a program prints as `{}`, `None` or a dozen decimals, too."""
    if isinstance(value, Mapping):
        value = ", ".join(f"{key} {_word(each)}" for key, each in value.items())
    if isinstance(value, float):
        return f"{value:.3f}"
    return "none" if value is None or value == "" else str(value)
