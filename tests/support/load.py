"""Agents that send all the time and know what they were told."""

from __future__ import annotations

import asyncio
import time
from array import array
from itertools import count
from pathlib import Path

from telemetry_collector.config import Address
from telemetry_collector.sender import Batch, Sender, TransportSettings
from telemetry_collector.sender.events import Disconnected, SenderEvent

BATCH_POINTS = 20
SEND_EVERY_SECS = 0.05
DRAIN_SECS = 30.0

_numbers = count()


class Agent:
    """A sender whose points have values that no other's have."""

    def __init__(self, collector: Address, certificate: Path, key: Path, ca: Path) -> None:
        self.ends: list[str] = []
        """Why its connections ended."""
        transport = TransportSettings(
            endpoints=(collector,),
            cert_path=certificate,
            key_path=key,
            ca_path=ca,
            server_name="localhost",
            backoff_max_secs=0.5,
        )
        self.sender = Sender(transport, on_event=self._happened)

    async def run(self) -> None:
        """Sends for ever."""
        await self.sender.start()
        while True:
            await self.sender.put(batch())
            await asyncio.sleep(SEND_EVERY_SECS)

    async def once(self) -> None:
        """Begins, sends one batch and waits for the answer."""
        await self.sender.start()
        await self.send()

    async def send(self) -> None:
        """Sends one batch and waits for the answer."""
        await self.sender.put(batch())
        await self.drained()

    async def drained(self) -> None:
        """Waits until everything is answered."""
        async with asyncio.timeout(DRAIN_SECS):
            await self.sender.drained()

    def _happened(self, event: SenderEvent) -> None:
        if isinstance(event, Disconnected):
            self.ends.append(event.reason)


def batch() -> Batch:
    """Points whose values no other batch has."""
    number = next(_numbers)
    return Batch(
        common_tags=(),
        series=[("test.metric", (), 2, "", False)],
        series_index=array("I", [0]) * BATCH_POINTS,
        timestamps_unix_ns=array("q", [time.time_ns()]) * BATCH_POINTS,
        values=array("d", (number * BATCH_POINTS + place for place in range(BATCH_POINTS))),
    )
