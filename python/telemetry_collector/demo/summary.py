"""What a demo tells: the counts of a moment, and those at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from telemetry_collector.sender import SenderStats


@dataclass(frozen=True, slots=True)
class Moment:
    """A running demo: what the agent counts, and what the collector says of itself, if it answers."""

    seconds: float
    directory: Path
    listen_addr: str
    receivers: Mapping[str, str]
    """Where other protocols are taken, by receiver."""
    grpc_addr: str
    grpc_socket: Path | None
    metrics_port: int
    api: str
    """Where the API is."""
    agent: SenderStats
    collector: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AckLatency:
    """From sending a batch to its acknowledgement, in milliseconds; None before the first."""

    p50: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """What a demo did. Rows are counted in the files, everything else where it happened."""

    points_read: int
    """Points that the agent read from this machine, whether or not they could be sent."""
    points_sent: int
    points_acknowledged: int
    points_by_requests: int
    """Points that came by other protocols, where somebody tried one."""
    points_stored: int
    points_refused: int
    series: int
    parquet_files: int
    parquet_rows: int
    """Of points that the agent sent."""
    worker_rows: int
    """Further ones: what its heartbeats said."""
    parquet_bytes: int
    ack_ms: AckLatency
    seconds: float
    directory: str

    @property
    def consistent(self) -> bool:
        """Every acknowledged point is a row, and every such row was acknowledged: some, if any were read."""
        counted = self.points_acknowledged + self.points_by_requests == self.points_stored == self.parquet_rows
        return counted and (self.points_acknowledged > 0 or self.points_read == 0)
