"""What a measurement found."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class AckMs:
    """Milliseconds to an acknowledgement; None where there was none."""

    p50: float | None
    p99: float | None
    p999: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The figures, under the names that `--json` has for them. None for what could not be measured."""

    points_per_s: float
    """Acknowledged, divided by the time until every writer was through; with a target, until the last answer."""
    cpu_s_per_million: float | None
    """Processor time of the collector alone, until its end, for a million points."""
    wire_bytes_per_point: float | None
    """Of frames, definitions of series included, without QUIC."""
    stored_bytes_per_point: float | None
    """Of the Parquet files, before compaction."""
    ack_ms: AckMs
    resident_mb: float | None
    """The most that the collector ever had resident."""
    acknowledged: int
    """Points."""
    stored: int | None
    """Points at the destination: rows of the files, or else what the database took, or else what is journalled."""
    verified: bool | None
    """Whether that is what was acknowledged, exactly. None where it cannot be looked at."""
    transport: str | None
    """The listener; None of a target, which does not tell."""
    client: str
    """What the load was made of."""
    form: str
    compression: str
    agents: int
    connections: int
    series: int
    batch_points: int
    rate: float | None
    writers: tuple[str, ...] | None
    """None of a target."""
    seconds: float
    """From the first batch until every writer was through."""
    refused: int
    """Points."""
    retried: int
    """Batches put off with RETRY_LATER; they were sent again."""
    delivered_database: int | None
    """Points that the database took."""
    cpu_share: float | None
    """Of one processor, while the load was on."""
    client_cpu_share: float
    """Of one processor, what the load took itself. Near 1, the collector may be able to do more than is shown."""
    load_average: float
    """Of the machine over the minute before: anything but little makes the other figures worthless."""
    accepted_per_s: float
    """Points acknowledged, divided by the time until the last answer alone."""
    handshakes_per_s: float
    pinned: bool
    version: str
    findings: list[str] = field(default_factory=list)
    """What is not as it should be."""
    directory: str | None = None
    """Where the files are; None once they are removed."""

    def without_directory(self) -> Result:
        """The same, once the files are removed."""
        return replace(self, directory=None)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {name: _rounded(value) for name, value in asdict(self).items()}

    def __str__(self) -> str:
        ack = self.ack_ms
        pace = "flat out" if self.rate is None else "idle" if self.rate == 0 else f"{self.rate:,.0f} points/s"
        listener = self.transport or "a target"
        kept = ""
        if self.writers is not None:
            kept = f", kept by {', '.join(self.writers) or 'the journal alone'}"
        figures: list[tuple[str, float | None, str]] = [
            ("throughput", self.points_per_s or None, "points/s, until every writer was through"),
            ("accepted", self.accepted_per_s or None, "points/s, until the last answer"),
            ("processor time", self.cpu_s_per_million, "s for a million points, the collector alone"),
            ("processor", None if self.cpu_share is None else 100 * self.cpu_share, "% of one, under load"),
            ("load", 100 * self.client_cpu_share, "% of one processor, the load itself"),
            ("wire", self.wire_bytes_per_point, "bytes a point, frames"),
            ("at rest", self.stored_bytes_per_point, "bytes a point, Parquet"),
            ("acknowledged in", ack.p50, "ms p50"),
            ("", ack.p99, "ms p99"),
            ("", ack.p999, "ms p99.9"),
            ("memory", self.resident_mb, "MB resident at most, the collector alone"),
            ("handshakes", self.handshakes_per_s, "a second"),
            ("acknowledged", self.acknowledged, "points"),
            ("stored", self.stored, "points"),
            ("refused", self.refused, "points"),
            ("put off", self.retried, "batches, that were sent again"),
        ]
        lines = [
            f"{self.agents:,} agents × {self.series:,} series, {pace}, {self.connections:,} connections of "
            f"{self.client} to {listener}, {self.form} form, compression {self.compression}{kept}; "
            f"{self.seconds:.1f} s, load average {self.load_average:.1f} before",
            *(_line(name, value, unit) for name, value, unit in figures if value is not None),
            *(f"  {text}" for text in self.findings),
            self._verdict(),
        ]
        return "\n".join(lines)

    def _verdict(self) -> str:
        if self.verified is None:
            return "not verified: the target's data cannot be seen from here; --dataset names it where it can"
        if self.verified:
            return "verified: what was acknowledged is stored, once, and nothing else"
        return "NOT VERIFIED: what is stored is not what was acknowledged" + (
            f"; the files are in {self.directory}" if self.directory else ""
        )


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def _line(name: str, value: float, unit: str) -> str:
    if isinstance(value, int) or value >= 1_000:
        text = f"{value:,.0f}"
    else:
        text = f"{value:,.3f}" if value < 10 else f"{value:,.1f}"
    return f"  {name:<16} {text:>14}  {unit}"


def as_json(result: Result) -> str:
    """One line."""
    return json.dumps(result.as_dict())
