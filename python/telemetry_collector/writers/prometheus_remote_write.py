"""Writes to whatever takes Prometheus' remote write 1.0: Prometheus, Mimir, Thanos, VictoriaMetrics, Grafana Cloud.

How a point becomes samples is in `rust/core/src/export/prometheus.rs`. A receiver that answers 400 has refused some
samples for good; Prometheus itself then has taken none, for one that is older than the newest of its series. So the
others come again without those (`writers.push`).
"""

from __future__ import annotations

from typing import ClassVar, Final, final

from telemetry_collector.component import Blocks, Requests, WriterContext
from telemetry_collector.config import Section
from telemetry_collector.writers.push import PushConfig, PushWriter


class RemoteWriteConfig(PushConfig):
    """The section `prometheus_remote_write`."""


class _RemoteWrite:
    headers: Final = {
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
        "User-Agent": "telemetry-collector",
    }

    searches: Final = True

    def requests(self, blocks: Blocks, bytes_max: int) -> Requests:
        return blocks.remote_write(bytes_max)

    def refused(self, _body: bytes) -> tuple[int, str]:
        return 0, ""


@final
class RemoteWriteWriter(PushWriter):
    """See the module."""

    Config: ClassVar[type[Section]] = RemoteWriteConfig

    def __init__(self, config: RemoteWriteConfig, context: WriterContext) -> None:
        super().__init__(config, context, _RemoteWrite(), gzip=False)
