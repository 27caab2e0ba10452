"""Senders of this process, with a node's certificate, and what they told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.quic_collector import QuicCollector

from telemetry_collector.config import Address
from telemetry_collector.model import MetricType
from telemetry_collector.sender import (
    Batch,
    DeliverySettings,
    OutboxSettings,
    Point,
    Sender,
    TransportSettings,
    batch_of,
)
from telemetry_collector.sender.events import SenderEvent

PLAIN = DeliverySettings(compression="none")


def batch(points: int = 10, name: str = "system.load") -> Batch:
    readings = [Point(name, float(place), MetricType.GAUGE, "1", (("n", str(place)),)) for place in range(points)]
    return batch_of(readings, common_tags=(("node_id", "node-1"),), timestamp_unix_ns=1_000)


def transport(certificates: Path, *endpoints: Address, **changes: Any) -> TransportSettings:
    values: dict[str, Any] = {
        "endpoints": endpoints,
        "cert_path": certificates / "node-1.pem",
        "key_path": certificates / "node-1.key",
        "ca_path": certificates / "ca.pem",
        "backoff_min_secs": 0.01,
        "backoff_max_secs": 0.05,
        "failback_secs": 0.05,
        "unreachable_secs": 0.05,
        "connect_timeout_secs": 5.0,
    }
    return TransportSettings(**(values | changes))


@asynccontextmanager
async def running(
    settings: TransportSettings, delivery: DeliverySettings = PLAIN, outbox: OutboxSettings | None = None
) -> AsyncIterator[tuple[Sender, list[SenderEvent]]]:
    events: list[SenderEvent] = []
    sender = Sender(settings, delivery=delivery, outbox=outbox, on_event=events.append)
    await sender.start()
    try:
        async with asyncio.timeout(30):
            yield sender, events
    finally:
        await sender.stop(drain_secs=0)


@asynccontextmanager
async def linked(certificates: Path, **changes: Any) -> AsyncIterator[tuple[QuicCollector, Sender, list[SenderEvent]]]:
    async with (
        QuicCollector(certificates) as collector,
        running(transport(certificates, collector.address, **changes)) as (sender, events),
    ):
        yield collector, sender, events
