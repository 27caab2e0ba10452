"""An agent to be killed: `python -m telemetry_collector.torture.agent SETTINGS`, where SETTINGS is JSON of `Settings`.

It sends batches of points whose values name themselves, from a spool, and writes down every answer. SIGUSR1: it makes
no more batches and goes on sending. SIGTERM, or the end of its standard input: it stops in order.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from array import array
from dataclasses import dataclass
from pathlib import Path
from random import Random

import uvloop

from telemetry_collector.app.faults import FaultControl
from telemetry_collector.config import Address
from telemetry_collector.sender import Batch, MetricType, Sender, SpoolSettings, TransportSettings
from telemetry_collector.sender.events import Answered, Dropped, SenderEvent
from telemetry_collector.torture.diary import Diary
from telemetry_collector.torture.values import first_value

SERIES = 20
PENDING_INTERVAL_SECS = 0.25
BACKOFF_SECS_MAX = 0.5
FAILBACK_SECS = 2.0
DRAIN_SECS = 1.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What such an agent is told."""

    agent: int
    life: int
    fault_fd: int
    """The socket over which its spool's disk fails; see `app.faults`."""
    ports: tuple[int, ...]
    """Where its collectors are on loopback, the preferred one first."""
    certificate: str
    key: str
    authority: str
    spool: str
    spool_bytes_max: int
    diary: str
    batches_per_sec: float
    points_max: int
    """Points of the largest batch."""


class Torturee:
    """The process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._diary = Diary(Path(settings.diary))
        # The end of that socket is the end of whoever tortures; standard input tells the same.
        faults = FaultControl(settings.fault_fd, Path(settings.spool), lambda: None)
        self._next_value = first_value(settings.agent, settings.life)
        self._random = Random(self._next_value)
        self._sender = Sender(
            TransportSettings(
                endpoints=tuple(Address("127.0.0.1", port) for port in settings.ports),
                cert_path=Path(settings.certificate),
                key_path=Path(settings.key),
                ca_path=Path(settings.authority),
                server_name="localhost",
                connect_timeout_secs=3.0,
                backoff_max_secs=BACKOFF_SECS_MAX,
                failback_secs=FAILBACK_SECS,
            ),
            spool=SpoolSettings(directory=Path(settings.spool), bytes_max=settings.spool_bytes_max, disk=faults.disk),
            on_event=self._on_event,
        )

    async def run(self) -> None:
        """Sends until it is told to stop."""
        stopping, quiet = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stopping.set)
        loop.add_signal_handler(signal.SIGUSR1, quiet.set)
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        orphaned = asyncio.create_task(reader.read())
        orphaned.add_done_callback(lambda _: stopping.set())
        self._diary.note("life", self._settings.life, time.time())
        await self._sender.start()
        making = asyncio.create_task(self._make_batches(quiet))
        counting = asyncio.create_task(self._count(quiet))
        await stopping.wait()
        for task in (making, counting, orphaned):
            task.cancel()
        await asyncio.gather(making, counting, orphaned, return_exceptions=True)
        await self._sender.stop(DRAIN_SECS)

    async def _make_batches(self, quiet: asyncio.Event) -> None:
        while not quiet.is_set():
            self._sender.offer(self._batch(self._random.randint(1, self._settings.points_max)))
            await asyncio.sleep(self._random.expovariate(self._settings.batches_per_sec))

    def _batch(self, points: int) -> Batch:
        first, self._next_value = self._next_value, self._next_value + points
        return Batch(
            common_tags=(),
            series=[(f"torture.{place}", (), int(MetricType.GAUGE), "", False) for place in range(SERIES)],
            series_index=array("I", (place % SERIES for place in range(points))),
            timestamps_unix_ns=array("q", (time.time_ns() + place for place in range(points))),
            values=array("d", range(first, first + points)),
        )

    async def _count(self, quiet: asyncio.Event) -> None:
        await quiet.wait()
        while True:
            self._diary.note("pending", self._sender.stats.batches_pending)
            await asyncio.sleep(PENDING_INTERVAL_SECS)

    def _on_event(self, event: SenderEvent) -> None:
        match event:
            case Answered(epoch, sequence, outcome, accepted):
                self._diary.note("answer", time.time(), epoch, sequence, int(outcome), accepted)
            case Dropped():
                self._diary.note("dropped", event.reason, event.points)
            case _:
                # Connections come and go: that is the purpose of all this.
                pass


def main() -> None:
    """Runs one."""
    told = json.loads(sys.argv[1])
    uvloop.run(Torturee(Settings(**{**told, "ports": tuple(told["ports"])})).run())


if __name__ == "__main__":
    main()
