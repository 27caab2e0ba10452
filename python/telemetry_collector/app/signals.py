"""Traces and logs: for each that is on, a journal beside the points', a fan-out with one writer, and its dataset.

receivers ─► RequestIngest (core: judge, journal) ─► FanOut ─► ParquetWriter in the signal's format
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast, final

from prometheus_client import CollectorRegistry

from telemetry_collector import _core
from telemetry_collector.app.damage import Damage
from telemetry_collector.app.destinations import Destinations
from telemetry_collector.app.maintenance import tend
from telemetry_collector.app.readiness import JournalInUse
from telemetry_collector.breaker import Breaker
from telemetry_collector.clock import Clock
from telemetry_collector.component import WriterContext
from telemetry_collector.config import Config
from telemetry_collector.config.signals import SignalSection
from telemetry_collector.observe.logs import logger
from telemetry_collector.pipeline.consumer import Consumer, Cursor
from telemetry_collector.pipeline.fanout import FanOut
from telemetry_collector.pipeline.requests import RequestIngest
from telemetry_collector.pipeline.signals import SignalMetrics
from telemetry_collector.store.signals import SIGNALS, Signal
from telemetry_collector.writers.parquet import ParquetConfig, ParquetWriter

log = logger(__name__)


@dataclass(frozen=True)
class _Line:
    """One signal's way."""

    core: _core.Signals
    fanout: FanOut
    ingest: RequestIngest
    damage: Damage


@final
class Signals:
    """Both signals of a collector, as far as they are on."""

    def __init__(
        self,
        config: Config,
        points: _core.Ingest,
        destinations: Destinations,
        registry: CollectorRegistry,
        clock: Clock,
    ) -> None:
        """`points` has the limits and quotas that they share; `destinations` the counters of writers."""
        self._config = config
        self._points = points
        self._destinations = destinations
        self._registry = registry
        self._clock = clock
        self._lines: dict[Signal, _Line] = {}

    @property
    def consumers(self) -> Mapping[str, RequestIngest]:
        """Who takes requests, by signal; those that are off are not among them."""
        return {signal: line.ingest for signal, line in self._lines.items()}

    @property
    def journals(self) -> Mapping[str, JournalInUse]:
        """Those that are on, by signal."""
        return {
            signal: JournalInUse(line.core.refusal, self._config.journal.dir / signal, f"{signal}.journal_max_bytes")
            for signal, line in self._lines.items()
        }

    @property
    def writers(self) -> tuple[Consumer, ...]:
        """Those of the datasets."""
        return tuple(consumer for line in self._lines.values() for consumer in line.fanout.consumers)

    async def start(self) -> None:
        """Opens journals and datasets. JournalError or ConfigError says what is wrong; `stop` closes what is open."""
        sections: Mapping[Signal, SignalSection] = {"traces": self._config.traces, "logs": self._config.logs}
        for signal, section in sections.items():
            if section.output_dir is not None:
                core = await asyncio.to_thread(self._opened, signal, section)
                log.info("signal_journal_opened", signal=signal, journal_id=core.journal_id, **core.recovery)
                fanout = FanOut([self._consumer(core, signal, section)])
                self._lines[signal] = _Line(core, fanout, RequestIngest(core, fanout.committed), Damage(core, signal))
        for line in self._lines.values():
            line.ingest.start()
            await line.fanout.start()
        if self._lines:
            self._registry.register(SignalMetrics((signal, line.core) for signal, line in self._lines.items()))

    async def maintain(self) -> None:
        """Lets writers give way where room is wanted, and deletes what was written; see `tend`."""
        for line in self._lines.values():
            make_room = partial(line.fanout.make_room, line.core.room_wanted)
            await tend((make_room, partial(asyncio.to_thread, line.core.maintain)))
            line.damage.look()

    async def stop(self, timeout_secs: float) -> list[str]:
        """Writes what is committed, for so long; the names of writers that did not manage. Idempotent."""
        lines = tuple(self._lines.values())
        return [name for late in await asyncio.gather(*(_ended(line, timeout_secs) for line in lines)) for name in late]

    async def close(self) -> None:
        """Lets go of the journals. Idempotent, and safe after a start that failed."""
        for line in self._lines.values():
            line.ingest.stop()
            await asyncio.to_thread(line.core.close)

    def summary(self) -> dict[str, Any]:
        """What was done since the start, by signal."""
        return {signal: _summary(line.core.stats(), line.fanout.consumers) for signal, line in self._lines.items()}

    def _opened(self, signal: Signal, section: SignalSection) -> _core.Signals:
        journal = self._config.journal
        return _core.Signals(
            signal,
            self._points,
            journal_dir=str(journal.dir / signal),
            # Of at least two segments.
            journal_segment_bytes=min(journal.segment_bytes, section.journal_max_bytes // 2),
            journal_bytes_max=section.journal_max_bytes,
        )

    def _consumer(self, core: _core.Signals, signal: Signal, section: SignalSection) -> Consumer:
        assert section.output_dir is not None, "asked for a signal that is on"
        events = self._destinations.metrics.writer(signal)
        breaker = Breaker(section.retry_secs_max, self._clock)
        context = WriterContext(name=signal, journal_id=core.journal_id, events=events, breaker=breaker)
        written = section.model_dump(exclude={"journal_max_bytes"})
        writer = ParquetWriter(ParquetConfig(**written), context, self._clock, SIGNALS[signal])
        return Consumer(
            signal,
            writer,
            # What it reads is points to no line protocol, which this writer does not ask for.
            cast(Cursor, core.cursor(signal)),
            self._destinations.events,
            events,
            section=section,
            breaker=breaker,
            clock=self._clock,
        )


async def _ended(line: _Line, timeout_secs: float) -> list[str]:
    deadline = time.monotonic() + timeout_secs
    await asyncio.to_thread(line.core.drain, timeout_secs)
    return await line.fanout.stop(max(deadline - time.monotonic(), 0.1))


def _summary(stats: Mapping[str, Any], writers: Sequence[Consumer]) -> dict[str, Any]:
    return {
        "rows_received": stats["rows_received"],
        "rows_committed": stats["rows_committed"],
        "rows_refused": sum(stats["rows_refused"].values()),
        "rows_written": sum(writer.points_written for writer in writers),
        "lag_rows": sum(writer.lag_points for writer in writers),
        "failing": next((writer.failing for writer in writers if writer.failing), None),
    }
