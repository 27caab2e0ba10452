"""The agent's metrics of itself: what it sends, what it could not, what it costs."""

from collections.abc import Iterator

import psutil

from telemetry_collector.agent.door import Door
from telemetry_collector.agent.sources import DIGITS, counter, gauge
from telemetry_collector.sender import Point, SenderStats


def sender_points(stats: SenderStats) -> Iterator[Point]:
    """The sender's statistics."""
    yield counter("agent.points.sent", stats.points_sent, "{point}")
    yield counter("agent.points.acknowledged", stats.points_acknowledged, "{point}")
    for reason, points in stats.refused_by_reason.items():
        yield counter("agent.points.refused", points, "{point}", reason=reason)
    for reason, points in stats.dropped_by_reason.items():
        yield counter("agent.points.dropped", points, "{point}", reason=reason)
    yield counter("agent.batches.dropped", stats.batches_dropped, "{batch}")
    yield counter("agent.batches.unspooled", stats.batches_unspooled, "{batch}")
    yield gauge("agent.points.pending", stats.points_pending, "{point}")
    yield gauge("agent.spool.size", stats.spool_bytes, "By")
    yield counter("agent.batches.resent", stats.batches_resent, "{batch}")
    yield counter("agent.connects", stats.connects, "{connection}")
    yield counter("agent.connect.failures", stats.connect_failures, "{attempt}")
    if stats.batches_acknowledged:
        yield gauge("agent.ack.latency", round(stats.ack_p50_secs, DIGITS), "s", quantile="0.5")
        yield gauge("agent.ack.latency", round(stats.ack_p99_secs, DIGITS), "s", quantile="0.99")


def door_points(door: Door) -> Iterator[Point]:
    """What services hand over."""
    yield gauge("agent.service.clients", door.clients, "{connection}")
    yield counter("agent.service.points", door.points, "{point}")


class AgentCost:
    """What the agent's process uses."""

    def __init__(self) -> None:
        self._process = psutil.Process()

    def points(self) -> Iterator[Point]:
        """Processor time and memory."""
        times = self._process.cpu_times()
        yield counter("agent.cpu.time", round(times.user + times.system, DIGITS), "s")
        yield gauge("agent.memory.rss", self._process.memory_info().rss, "By")
