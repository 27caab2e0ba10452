"""The workers: who they are, how they are, and whether they are heard of.

`registry` is what is known, in memory and without I/O; `saved` keeps it over a restart; `manager` feeds it from the
core and tells whoever asked to be told; `metrics` shows it to Prometheus.
"""

from telemetry_collector.api.workers.manager import TelemetryManager
from telemetry_collector.api.workers.worker import Heartbeat, RunningTask, Worker

__all__ = ["Heartbeat", "RunningTask", "TelemetryManager", "Worker"]
