"""The sections `traces` and `logs`: where spans and log records go, which is nowhere unless a directory is named."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from telemetry_collector.config.section import PositiveInt, Seconds, WholeSeconds, WriterSection
from telemetry_collector.config.sections import GIB, MIB, TIB


class SignalSection(WriterSection):
    """The dataset of one signal, and the journal before it."""

    output_dir: Path | None = Field(None, description="the dataset's directory, or null to take none of them")
    rotation_interval_secs: WholeSeconds = Field(
        3600, description="the period, in seconds, whose files are joined when it is over; never across an hour"
    )
    compression: Literal["snappy", "zstd", "none"] = Field("zstd", description="snappy, zstd or none")
    flush_interval_secs: Seconds = Field(10, description="within how many seconds what was received is readable")
    file_max_bytes: PositiveInt = Field(512 * MIB, description="bytes that a compacted file has at most")
    timestamp_unit: Literal["us", "ns"] = Field("us", description="us or ns, the unit of timestamps")
    journal_max_bytes: int = Field(
        4 * GIB, ge=2 * MIB, le=1024 * TIB, description="what the segments of its journal may take on disk"
    )
