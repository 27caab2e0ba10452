"""The collector as a process: what its memory may be, which signals it takes, and what it tells whoever started it."""

from __future__ import annotations

import asyncio
import gc
import os
import signal

import uvloop

from telemetry_collector import _core
from telemetry_collector.app import service
from telemetry_collector.app.collector import Collector
from telemetry_collector.app.faults import FaultControl
from telemetry_collector.app.memory import bound_freed_memory, unmap_unused_code
from telemetry_collector.config import Config
from telemetry_collector.errors import TelemetryCollectorError
from telemetry_collector.observe import logs
from telemetry_collector.observe.systemd import ServiceManager

log = logs.logger(__name__)

GARBAGE_LOOKS_RATIO = 50
"""Looks at what was made of late for one at everything, which takes 0.1 ms for each connection on aioquic: what is
garbage in between takes some ten megabytes at most."""


def run_collector(config: Config, *, as_json: bool = False, fault_fd: int | None = None) -> int:
    """Runs the service until SIGTERM or SIGINT; prints what was done. The process' exit code.

    `fault_fd` is a socket over which `torture` makes the journal's disk fail; see `app.faults`.
    """
    bound_freed_memory()
    service.hush_grpc()
    logs.configure(config.observability.log_level, config.observability.log_format)
    faults = None
    if fault_fd is not None:
        faults = FaultControl(fault_fd, config.journal.dir, lambda: os.kill(os.getpid(), signal.SIGTERM))
    return uvloop.run(_serve(Collector(config, faults.disk if faults else None), as_json=as_json))


async def _serve(collector: Collector, *, as_json: bool) -> int:
    manager = ServiceManager()
    stopping, reload_asked = service.stop_signals(), service.reload_signal()
    try:
        started = await service.unless(stopping, collector.start())
    except (TelemetryCollectorError, _core.CoreError) as error:
        log.error("start_failed", error=str(error))
        return 1
    if started:
        # What the start left in memory stays for good. Looking through it for garbage now and again would stop the
        # loop, and every agent's answers, for some fifty milliseconds.
        gc.collect()
        gc.freeze()
        unmap_unused_code()
        # The same holds for open connections: a thousand that come at once would have it looked through eight times.
        young, middle, _ = gc.get_threshold()
        gc.set_threshold(young, middle, GARBAGE_LOOKS_RATIO)
        manager.ready(f"listening on {collector.listen_addr}")
        api_port = collector.api.port if collector.api is not None else None
        log.info("started", listen_addr=collector.listen_addr, metrics_port=collector.endpoint.port, api_port=api_port)
        reloading = asyncio.create_task(service.reload_when(reload_asked, collector.reload, manager))
        await service.until(stopping, manager)
        await service.cancel(reloading)
    manager.stopping("finishing what is in flight")
    service.cut_short_after(collector.config.server.shutdown_timeout_secs)
    await collector.stop()
    service.print_summary(collector.summary(), as_json=as_json)
    service.ignore_signals()
    return 0
