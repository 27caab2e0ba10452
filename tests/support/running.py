"""A collector that runs in this process."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from telemetry_collector.app.collector import Collector
from telemetry_collector.config import WRITERS, DiscoveredSections, load


@asynccontextmanager
async def collector_of(document: Mapping[str, Any] | Path) -> AsyncIterator[Collector]:
    """From a document, or from a file that a test changes meanwhile, until the end of the block."""
    text = document if isinstance(document, Path) else json.dumps(document)
    collector = Collector(load(text, DiscoveredSections(WRITERS)))
    await collector.start()
    try:
        yield collector
    finally:
        await collector.stop()
