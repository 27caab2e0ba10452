"""Room in the journal: how long an outage it covers, and how old what it keeps has become."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final, final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from telemetry_collector.clock import Clock
from telemetry_collector.observe.logs import logger
from telemetry_collector.observe.occasional import Occasional
from telemetry_collector.pipeline.fanout import FanOut

log = logger(__name__)

# What comes in is averaged over about so long: for how long the room lasts, and for how fast a writer must catch up.
_BYTES_OVER_SECS: Final = 300.0
_POINTS_OVER_SECS: Final = 60.0
# Less than this is nothing coming in.
_BYTES_PER_SEC_MIN: Final = 1.0
# A journal that keeps what is too old is told of so often.
_WARNING_EVERY_SECS: Final = 900.0


@final
class Rate:
    """How fast a counter grows, as an average that forgets exponentially. Right from its second reading on."""

    def __init__(self, over_secs: float) -> None:
        self._over_secs = over_secs
        self._last: tuple[float, float] | None = None
        self._sum = 0.0
        self._weight = 0.0

    def read(self, total: float, now: float) -> None:
        """The counter stands at `total` at this moment of the monotonic clock."""
        last, self._last = self._last, (total, now)
        if last is None or now <= last[1]:
            return
        elapsed = now - last[1]
        share = 1 - math.exp(-elapsed / self._over_secs)
        self._sum += share * ((total - last[0]) / elapsed - self._sum)
        self._weight += share * (1 - self._weight)

    @property
    def per_sec(self) -> float:
        """0 before there are two readings."""
        return self._sum / self._weight if self._weight else 0.0


@final
class JournalRoom(Collector):
    """Looks once a second, in a thread; metrics and reports show what it saw last."""

    def __init__(
        self,
        stats: Callable[[], dict[str, Any]],
        free_bytes: Callable[[], int],
        max_age_secs: float | None,
        clock: Clock,
        *,
        segment_bytes: int,
    ) -> None:
        """`stats` are the core's, `free_bytes` what the journal's file system has left for us. With less left than
        `segment_bytes`, what one more segment takes at once, the log warns."""
        self._stats = stats
        self._free_bytes = free_bytes
        self._max_age_secs = max_age_secs
        self._clock = clock
        self._segment_bytes = segment_bytes
        self._appended = Rate(_BYTES_OVER_SECS)
        self._committed = Rate(_POINTS_OVER_SECS)
        self._warnings = Occasional(_WARNING_EVERY_SECS, clock)
        self._room_bytes = 0
        self._oldest_secs = 0.0

    def look(self, fanout: FanOut) -> None:
        """Takes the readings; warns of what has become too old, and of a full disk. OSError when the file system cannot
        be asked."""
        stats, now = self._stats(), self._clock.monotonic()
        self._appended.read(stats["journal_bytes_committed"], now)
        self._committed.read(stats["points_committed"], now)
        below_bound = max(stats["journal_bytes_max"] - stats["journal_bytes"], 0)
        free_bytes = self._free_bytes()
        self._room_bytes = min(below_bound, free_bytes)
        if free_bytes < self._segment_bytes and self._warnings.due("journal_disk_nearly_full"):
            log.warning(
                "journal_disk_nearly_full",
                free_bytes=free_bytes,
                segment_bytes=self._segment_bytes,
                effect="without room for another segment agents are told to come later",
            )
        ages = {consumer.name: consumer.lag_secs for consumer in fanout.consumers}
        self._oldest_secs = max(ages.values(), default=0.0)
        for name, age in ages.items():
            if self._max_age_secs is not None and age > self._max_age_secs and self._warnings.due(name):
                log.warning(
                    "journal_data_old",
                    writer=name,
                    age_secs=round(age),
                    max_age_secs=self._max_age_secs,
                    outage_covered_secs=self.report()["outage_covered_secs"],
                )

    @property
    def points_per_sec(self) -> float:
        """What comes in at present."""
        return self._committed.per_sec

    @property
    def outage_covered_secs(self) -> float:
        """For how long from now on the room left takes what comes in, if no writer writes anything; infinite when
        nothing comes in."""
        rate = self._appended.per_sec
        return self._room_bytes / rate if rate >= _BYTES_PER_SEC_MIN else math.inf

    def report(self) -> dict[str, Any]:
        """For /health, in values that JSON has: null where nothing comes in."""
        covered = self.outage_covered_secs
        return {
            "room_bytes": self._room_bytes,
            "outage_covered_secs": round(covered) if math.isfinite(covered) else None,
            "unwritten_age_secs": round(self._oldest_secs, 1),
        }

    def collect(self) -> Iterator[Metric]:
        """The same as metrics."""
        for name, text, value in (
            (
                "journal_room_bytes",
                "Bytes that the journal may still take: of its bound, or of the disk",
                self._room_bytes,
            ),
            (
                "journal_outage_covered_seconds",
                "For how long the room left takes what comes in at present, if no writer writes anything",
                self.outage_covered_secs,
            ),
            (
                "journal_unwritten_age_seconds",
                "Age of the oldest batch that some writer has not stored",
                self._oldest_secs,
            ),
        ):
            yield GaugeMetricFamily(f"telemetry_collector_{name}", text, value=value)
