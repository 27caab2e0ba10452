"""What a call of the metrics API costs a service, beside the same call of OpenTelemetry's SDK in the same run."""

from __future__ import annotations

import logging
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from benches.figures import Figure
from telemetry_collector.agent.sdk import AgentSocket, MetricCollector

CALLS = 100_000
ROUNDS = 7
TAGS = {"method": "GET", "route": "/users/{id}"}
RATIO_MAX = 0.5
"""Of OpenTelemetry's cost, at most so much."""


def measure() -> Iterator[Figure]:
    """Medians of the processor time of a call; ours and theirs take turns, so that each meets the same machine."""
    logging.disable()  # of the destination, which is nowhere
    with tempfile.TemporaryDirectory() as directory:
        metrics = MetricCollector("bench", to=AgentSocket(Path(directory) / "nobody.sock"), exit_secs=0.01)
        view = metrics.with_tags(TAGS)
        meter = MeterProvider([InMemoryMetricReader()]).get_meter("bench")
        counter, histogram = meter.create_counter("orders.placed"), meter.create_histogram("job.size")
        pairs: list[tuple[str, Callable[[], object], Callable[[], object]]] = [
            ("increment, no tags", lambda: metrics.increment("orders.placed"), lambda: counter.add(1)),
            ("increment, 2 tags", lambda: metrics.increment("orders.placed", 1, TAGS), lambda: counter.add(1, TAGS)),
            ("increment of with_tags", lambda: view.increment("orders.placed"), lambda: counter.add(1, TAGS)),
            ("gauge, 2 tags", lambda: metrics.gauge("queue.depth", 3, TAGS), lambda: counter.add(1, TAGS)),
            ("histogram, 2 tags", lambda: metrics.histogram("s", 1.5, TAGS), lambda: histogram.record(1.5, TAGS)),
            ("timing, 2 tags", lambda: metrics.timing("t", 0.015, TAGS), lambda: histogram.record(0.015, TAGS)),
        ]
        for threads in (1, 4):
            for name, ours, theirs in pairs:
                rounds = [(_call_ns(ours, threads), _call_ns(theirs, threads)) for _ in range(ROUNDS)]
                own = statistics.median(one for one, _ in rounds)
                ratios = sorted(one / other for one, other in rounds)
                about = f"{threads} threads" if threads > 1 else "1 thread"
                spread = f"load average {os.getloadavg()[0]:.1f}"
                yield Figure(f"{name}, {about}", own, "ns a call", None, spread=spread)
                yield Figure(
                    "  of OpenTelemetry's SDK",
                    statistics.median(ratios),
                    "times as much",
                    RATIO_MAX,
                    spread=f"{ratios[0]:.2f} to {ratios[-1]:.2f}",
                )
        assert metrics.stats.dropped == {}, f"every call is counted: {metrics.stats}"
        metrics.close(0)
    logging.disable(logging.NOTSET)


def _call_ns(call: Callable[[], object], threads: int) -> float:
    """Processor time of one call, with as many threads at it at once."""

    def calling() -> None:
        for _ in range(CALLS // threads):
            call()

    started = [threading.Thread(target=calling) for _ in range(threads)]
    before = time.process_time()
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return (time.process_time() - before) / CALLS * 1e9
