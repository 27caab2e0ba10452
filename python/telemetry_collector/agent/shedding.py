"""Sampling in the node agent: what is not due is not even read, so that leaving out saves what reading costs.

A source's points are kept or left out together, by rule. Usages are over the time since the reading before: one that
was left out makes the next one's span longer, and no processor's work goes unseen.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import psutil
from prometheus_client import CollectorRegistry

from telemetry_collector.agent.budget import Budget, Usage
from telemetry_collector.agent.config import NodeAgentConfig
from telemetry_collector.agent.sampling import Importance, Rule, Sampling
from telemetry_collector.agent.sources import DIGITS, counter, gauge
from telemetry_collector.clock import Clock
from telemetry_collector.observe.events import Event, Events
from telemetry_collector.observe.logs import logger
from telemetry_collector.sender import Point, SenderStats

log = logger(__name__)

SEED_BYTES_MAX = 64
MIB = 1024 * 1024

SHED = Event(
    "agent_points_shed",
    "Points left out because the agent, or its collector, has too much to do",
    labels=("pattern",),
    level="warning",
    every_secs=60.0,
)


class Shedding:
    """One agent's sampling. Called from its event loop: `begin`, then `wants` and `keep` for each source."""

    def __init__(self, config: NodeAgentConfig, node: str, registry: CollectorRegistry, clock: Clock) -> None:
        self._node = node
        self._clock = clock
        self._process = psutil.Process()
        self._events = Events(registry, log, clock)
        self._events.declare(SHED)
        self._rules_of: dict[str, Mapping[str, tuple[str, int]]] = {}
        self._shed_before: Counter[str] = Counter()
        self._shares: Mapping[str, float] = {}
        self._looked: float | None = None
        self._config = config
        self._sampling, self._budget = _sampling(config, node), _budget(config)

    def exchange(self, config: NodeAgentConfig) -> None:
        """By this from now on; what was left out goes on being counted. Equal rules and budgets keep their rates."""
        old, self._config = self._config, config
        if all(getattr(old, key) == getattr(config, key) for key in ("sampling", "resources", "spool_bytes_max")):
            return
        self._shed_before.update(self._sampling.shed)
        self._sampling, self._budget = _sampling(config, self._node), _budget(config)
        self._looked = None
        self._rules_of.clear()

    @property
    def rates(self) -> Mapping[str, float]:
        """The share that is kept, by pattern."""
        return self._sampling.rates

    def begin(self, stats: SenderStats) -> None:
        """A reading begins: time to look what is used, perhaps, and to move the rates."""
        if not self._config.sampling.enabled:
            return
        now = self._clock.monotonic()
        if self._looked is None or now - self._looked >= self._config.sampling.step_secs:
            self._shares = self._budget.shares(self._usage(stats, now))
            if self._looked is not None:  # what an agent uses to begin says nothing of what it will
                self._sampling.adjust(max(self._shares.values()), now)
            self._looked = now
        self._sampling.tick()

    def wants(self, source: str) -> bool:
        """Whether any point of a source would be kept; nobody knows of one that had none so far. Else counts them."""
        rules = self._rules_of.get(source)
        if not rules or any(self._sampling.due(name, source) for name, _ in rules.values()):
            return True
        for pattern, (name, points) in rules.items():
            self._count(pattern, name, points)
        return False

    def keep(self, source: str, points: Iterable[Point]) -> list[Point]:
        """Those points of a source that are due; the others are counted."""
        kept: list[Point] = []
        found: dict[str, tuple[str, int]] = {}
        shed: dict[str, tuple[str, int]] = {}
        due: dict[str, bool] = {}
        for point in points:
            pattern = self._sampling.pattern(point.name)
            if pattern not in due:
                due[pattern] = self._sampling.due(point.name, source)
            into = found if due[pattern] else shed
            name, so_far = into.get(pattern, (point.name, 0))
            into[pattern] = (name, so_far + 1)
            if due[pattern]:
                kept.append(point)
        for pattern, (name, left_out) in shed.items():
            self._count(pattern, name, left_out)
        self._rules_of[source] = {**found, **shed}
        return kept

    def points(self) -> Iterator[Point]:
        """What is left out and why."""
        for pattern, rate in self._sampling.rates.items():
            yield gauge("agent.sampling.rate", round(rate, DIGITS), "1", pattern=pattern)
        for pattern, points in (self._shed_before + Counter(self._sampling.shed)).items():
            yield counter("agent.points.shed", points, "{point}", pattern=pattern)
        for budget, share in self._shares.items():
            yield gauge("agent.budget.usage", round(share, DIGITS), "1", budget=budget)

    def finish(self) -> None:
        """Logs what was held back; for a last word when stopping."""
        self._events.finish()

    def _count(self, pattern: str, name: str, points: int) -> None:
        self._sampling.count_shed(name, points)
        fullest = max(self._shares, key=lambda budget: self._shares[budget])
        self._events.happened(SHED, points, pattern=pattern, rate=round(self._sampling.rate(name), 3), budget=fullest)

    def _usage(self, stats: SenderStats, now: float) -> Usage:
        times = self._process.cpu_times()
        return Usage(
            now=now,
            cpu_secs=times.user + times.system,
            memory_bytes=self._process.memory_info().rss,
            disk_bytes=stats.spool_bytes,
            answers=stats.answers,
            answers_put_off=stats.batches_retried,
            answers_narrow=stats.answers_narrow,
            batches_pending=stats.batches_pending,
        )


def _sampling(config: NodeAgentConfig, node: str) -> Sampling:
    settings = config.sampling
    return Sampling(
        [Rule(each.pattern, Importance(each.importance), each.rate_min) for each in settings.rules],
        seed=node.encode()[:SEED_BYTES_MAX],
        high_mark=settings.high_mark,
        low_mark=settings.low_mark,
        step_secs=settings.step_secs,
    )


def _budget(config: NodeAgentConfig) -> Budget:
    resources, settings = config.resources, config.sampling
    disk_bytes = resources.max_disk_mb * MIB if resources.max_disk_mb is not None else config.spool_bytes_max
    return Budget(
        cpu_percent=resources.max_cpu_percent,
        memory_bytes=resources.max_memory_mb * MIB if resources.max_memory_mb is not None else None,
        disk_bytes=disk_bytes if config.spool_dir is not None else None,
        patience_held=(settings.low_mark + settings.high_mark) / 2,
    )
