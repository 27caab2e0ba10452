"""The machine as a whole: load, uptime, processes."""

from collections.abc import Iterator

import psutil

from telemetry_collector.agent.sources import gauge
from telemetry_collector.clock import Clock
from telemetry_collector.sender import Point


class HostSource:
    """Load averages, time since the start of the system, processes."""

    name = "host"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def read(self) -> Iterator[Point]:
        for span, load in zip(("1m", "5m", "15m"), psutil.getloadavg(), strict=True):
            yield gauge(f"system.load.{span}", load, "{process}")
        uptime = max(0.0, self._clock.unix_secs() - psutil.boot_time())
        # The system tells the second in which it started.
        yield gauge("system.uptime", round(uptime), "s")
        yield gauge("system.processes.count", len(psutil.pids()), "{process}")
