"""Traces and logs behind the event loop: requests in, and a call when a commit made more readable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from typing import final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from telemetry_collector import _core
from telemetry_collector.pipeline.requests import Requests

# (key in the core's stats, metric, its help)
COUNTERS = (
    ("requests_received", "requests", "Requests of traces or logs that could be read"),
    ("rows_received", "rows_received", "Spans or log records of those requests"),
    ("rows_committed", "rows_committed", "Spans or log records on stable storage"),
    ("retries_asked", "retries_asked", "Requests told to come back later: no room, a quota, or a failed commit"),
    ("commits_failed", "commits_failed", "Requests whose commit failed"),
    ("undecodable", "undecodable_records", "Journal records that were skipped because they do not decode"),
    ("journal_quarantined", "journal_quarantined_ranges", "Damaged ranges of the journal that were set aside"),
)
GAUGES = (
    ("journal_bytes", "journal_bytes", "Bytes of the signal's journal on disk"),
    ("journal_bytes_max", "journal_bytes_max", "Its journal_max_bytes"),
)


@final
class SignalIngest:
    """One signal's consumer of requests. Attached to one event loop between `start` and `stop`."""

    def __init__(self, core: _core.Signals, committed: Callable[[], None]) -> None:
        """`committed` is called on the loop after each wake-up, when more may be readable."""
        self._core = core
        self._committed = committed
        self._requests = Requests()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begins to watch for commits, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._core.fileno(), self._on_commit)

    def stop(self) -> None:
        """Stops watching. Idempotent."""
        if self._loop is not None:
            self._loop.remove_reader(self._core.fileno())
            self._loop = None

    async def take(
        self, form: _core.RequestForm, body: bytes, encoding: str, *, identity: str, node: str, relay: bool
    ) -> _core.Request:
        """Takes a request; returns it when its commit is known. RequestError refuses it whole."""

        def work() -> _core.Request:
            return self._core.take(
                form, body, encoding, identity=identity, node=node, relay=relay, now_unix_ns=time.time_ns()
            )

        return await self._requests.taken(work, len(body))

    def _on_commit(self) -> None:
        for identifier in self._core.ready():
            self._requests.committed(identifier)
        self._committed()


@final
class SignalMetrics(Collector):
    """Reads a snapshot of each signal's counters at each scrape."""

    def __init__(self, cores: Iterable[tuple[str, _core.Signals]]) -> None:
        self._cores = tuple(cores)

    def collect(self) -> Iterator[Metric]:
        """All of them, by signal."""
        stats = [(signal, core.stats()) for signal, core in self._cores]
        for key, name, text in COUNTERS:
            counted = CounterMetricFamily(f"telemetry_collector_signal_{name}", text, labels=["signal"])
            for signal, values in stats:
                counted.add_metric([signal], values[key])
            yield counted
        for key, name, text in GAUGES:
            measured = GaugeMetricFamily(f"telemetry_collector_signal_{name}", text, labels=["signal"])
            for signal, values in stats:
                measured.add_metric([signal], values[key])
            yield measured
        refused = CounterMetricFamily(
            "telemetry_collector_signal_rows_refused",
            "Spans or log records refused, by reason",
            labels=["signal", "reason"],
        )
        for signal, values in stats:
            for reason, rows in values["rows_refused"].items():
                refused.add_metric([signal, reason], rows)
        yield refused
