"""The writers that a configuration names: made from their sections, and exchanged while everything else goes on.

A writer whose section has changed writes and flushes what is committed, ends, and begins anew from its durable cursor.
One that hangs or fails is not waited for: what it had not flushed is read again by its successor.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import final

from prometheus_client import CollectorRegistry

from telemetry_collector import _core
from telemetry_collector.breaker import Breaker
from telemetry_collector.clock import Clock
from telemetry_collector.component import WriterContext
from telemetry_collector.config import WRITERS, Section, WriterSection
from telemetry_collector.errors import ConfigError, JournalError, Mistake
from telemetry_collector.observe.logs import logger
from telemetry_collector.observe.writer_events import WriterEvents, WriterMetrics
from telemetry_collector.pipeline.consumer import Consumer
from telemetry_collector.pipeline.fanout import FanOut
from telemetry_collector.pipeline.metrics import FanOutMetrics
from telemetry_collector.pipeline.room import JournalRoom

log = logger(__name__)

CHANGE_SECS_MAX = 10.0
"""So long a writer that is removed or changed may take for its last flush."""


@final
class Destinations:
    """All writers, and the fan-out that feeds them."""

    def __init__(
        self,
        sections: Mapping[str, Section],
        core: _core.Ingest,
        registry: CollectorRegistry,
        clock: Clock,
        room: JournalRoom,
    ) -> None:
        self._core = core
        self._clock = clock
        self._room = room
        #: The counters of all writers, and of what the fan-out sees of them; those of other datasets use them too.
        self.metrics = WriterMetrics(registry)
        self.events = FanOutMetrics(registry, clock)
        self._reported: dict[str, WriterEvents] = {}
        self._sections = dict(sections)
        self.fanout = FanOut(self._consumer(name, section) for name, section in sections.items())
        self._tell_if_none()

    @property
    def sections(self) -> Mapping[str, Section]:
        """Those in force, by their writers' names."""
        return self._sections

    async def change(self, sections: Mapping[str, Section]) -> None:
        """Adds, exchanges and removes writers until they are these; one whose section is the same does not notice.

        ConfigError names every section that cannot be brought into force: its writer goes on by the one before.
        """
        mistakes: list[Mistake] = []
        # Added ones first: while they have no cursor, nothing but the others' keeps the journal for them.
        order = sorted(sections, key=lambda name: name in self._sections)
        for name in order:
            # One without a consumer has failed before: its section alone does not say that it is in force.
            if self._sections.get(name) != sections[name] or self._of(name) is None:
                try:
                    await self._put(name, sections[name])
                except ConfigError as error:
                    mistakes += error.mistakes
                except JournalError as error:
                    mistakes.append(Mistake(name, f"has no cursor in the journal: {error}"))
                except Exception as error:
                    # A defect in one writer must not keep the others from their sections.
                    log.exception("writer_defect", writer=name)
                    mistakes.append(Mistake(name, f"cannot be started: {str(error) or type(error).__name__}"))
        for name in [name for name in self._sections if name not in sections]:
            await self._remove(name)
        self._tell_if_none()
        if mistakes:
            raise ConfigError(mistakes)

    async def _put(self, name: str, section: Section) -> None:
        former = self._of(name)
        points_written = 0
        if former is not None:
            await self._end(former)
            points_written = former.points_written
        try:
            await self.fanout.add(self._consumer(name, section, points_written))
        except Exception:
            if name in self._sections:
                # It worked a moment ago; if it no longer does, it is tried again and again, for all to see.
                self.fanout.run(self._consumer(name, self._sections[name], points_written))
            else:
                self._core.close_cursor(name)
            raise
        self._sections[name] = section
        log.info("writer_added" if former is None else "writer_changed", writer=name)

    async def _remove(self, name: str) -> None:
        former = self._of(name)
        if former is not None:
            await self._end(former)
        del self._sections[name]
        self._core.close_cursor(name)
        log.info("writer_removed", writer=name, note="its cursor stays stored, and no longer holds the journal")

    async def _end(self, consumer: Consumer) -> None:
        late = await self.fanout.remove(consumer, 0.0 if consumer.failing else CHANGE_SECS_MAX)
        if late:
            log.warning("writer_stopped_early", writer=consumer.name, note="the journal keeps what it has not written")

    def _of(self, name: str) -> Consumer | None:
        return next((consumer for consumer in self.fanout.consumers if consumer.name == name), None)

    def _consumer(self, name: str, section: Section, points_written: int = 0) -> Consumer:
        # Counts go on; whether its destination fails is for the new writer to find out.
        reported = self._reported.setdefault(name, self.metrics.writer(name))
        reported.failing = None
        (point,) = entry_points(group=WRITERS, name=name)
        # A third party's section may know nothing of these keys: then their defaults hold.
        keys = section if isinstance(section, WriterSection) else WriterSection()
        breaker = Breaker(keys.retry_secs_max, self._clock)
        context = WriterContext(name=name, journal_id=self._core.journal_id, events=reported, breaker=breaker)
        consumer = Consumer(
            name,
            point.load()(section, context),
            self._core.cursor(name),
            self.events,
            reported,
            section=keys,
            breaker=breaker,
            live_points_per_sec=lambda: self._room.points_per_sec,
            clock=self._clock,
        )
        consumer.points_written = points_written
        return consumer

    def _tell_if_none(self) -> None:
        if not self._sections:
            log.warning("no_writers", note="batches are journalled and acknowledged, and nothing reads them; add one")
