"""The API in a thread of its own, for clients that block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry

from telemetry_collector.api.endpoint import ApiEndpoint
from telemetry_collector.api.workers import TelemetryManager
from telemetry_collector.config import Address

PATIENCE_SECS = 30.0


@contextmanager
def serving(manager: TelemetryManager) -> Iterator[Address]:
    """Serves until the end of the block. The manager is not to be touched meanwhile."""
    api = ApiEndpoint("127.0.0.1", 0, manager, CollectorRegistry(), version="1")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(api.start(), loop).result(PATIENCE_SECS)
        yield Address("127.0.0.1", api.port)
        asyncio.run_coroutine_threadsafe(api.stop(), loop).result(PATIENCE_SECS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_SECS)
        loop.close()
