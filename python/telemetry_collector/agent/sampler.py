"""All sources at one moment. What fails is counted and told once in a while; the others are not held up."""

import asyncio
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry

from telemetry_collector.agent.reading import Reading, SourceThread
from telemetry_collector.agent.sources import DIGITS, Source, counter, gauge
from telemetry_collector.clock import Clock
from telemetry_collector.observe.events import Event, Events
from telemetry_collector.observe.logs import logger
from telemetry_collector.sender import Point

log = logger(__name__)

FAILED = Event(
    "agent_source_failures",
    "Readings of a source that failed or did not end in time",
    labels=("source",),
    level="warning",
    every_secs=60.0,
)


class Gate(Protocol):
    """What of the sources is wanted at a moment."""

    def wants(self, source: str) -> bool:
        """Whether a source is to be read."""

    def keep(self, source: str, points: Iterable[Point]) -> list[Point]:
        """Those points of a source that are wanted."""


class Everything:
    """The gate that lets everything pass."""

    def wants(self, source: str) -> bool:
        """See Gate."""
        del source
        return True

    def keep(self, source: str, points: Iterable[Point]) -> list[Point]:
        """See Gate."""
        del source
        return list(points)


class Sampler:
    """Reads every source at once and waits for all of them, but not for longer than `timeout_secs`."""

    def __init__(
        self, sources: Sequence[Source], registry: CollectorRegistry, clock: Clock, *, timeout_secs: float
    ) -> None:
        self._threads = [SourceThread(source) for source in sources]
        self._timeout_secs = timeout_secs
        self._events = Events(registry, log, clock)
        self._events.declare(FAILED)
        self._failures: Counter[str] = Counter({thread.name: 0 for thread in self._threads})
        self._secs: dict[str, float] = {}

    @property
    def failures(self) -> Mapping[str, int]:
        """Readings that failed, by source."""
        return self._failures

    async def sample(self, gate: Gate | None = None) -> list[Point]:
        """The points of all sources that are wanted and could be read; values that are not finite are left out."""
        gate = gate or Everything()
        readings: dict[asyncio.Future[Reading], str] = {}
        for thread in self._threads:
            if thread.busy:
                self._failed(thread.name, "the reading before has not ended")
            elif gate.wants(thread.name):
                readings[thread.read()] = thread.name
        points: list[Point] = []
        if not readings:
            return points
        await asyncio.wait(readings, timeout=self._timeout_secs)
        for future, name in readings.items():
            if not future.done():
                future.cancel()
                self._failed(name, f"no answer within {self._timeout_secs:g} s")
            elif (error := future.exception()) is not None:
                self._failed(name, f"{type(error).__name__}: {error}")
            else:
                reading = future.result()
                self._secs[name] = reading.secs
                points += gate.keep(name, (point for point in reading.points if math.isfinite(point.value)))
        return points

    def own_points(self) -> Iterator[Point]:
        """How the sources do: failures so far, and how long each last reading took."""
        for name, failures in self._failures.items():
            yield counter("agent.source.errors", failures, "{error}", source=name)
        for name, secs in self._secs.items():
            yield gauge("agent.sample.duration", round(secs, DIGITS), "s", source=name)

    def exchange(self, sources: Sequence[Source], *, timeout_secs: float) -> None:
        """Reads other sources from now on. Not while a sample is under way; failures are counted on."""
        self._end_threads()
        self._threads = [SourceThread(source) for source in sources]
        self._timeout_secs = timeout_secs
        self._failures.update({thread.name: 0 for thread in self._threads})
        self._secs.clear()

    def stop(self) -> None:
        """Ends the threads. Idempotent."""
        self._end_threads()
        self._events.finish()

    def _end_threads(self) -> None:
        for thread in self._threads:
            thread.stop()
        self._threads.clear()

    def _failed(self, name: str, problem: str) -> None:
        self._failures[name] += 1
        self._events.happened(FAILED, source=name, problem=problem)
