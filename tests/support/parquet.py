"""A Parquet writer under test, which joins hours in the process of the test, and the names that it gives."""

from pathlib import Path
from typing import Any

from tests.support.writing import JOURNAL_ID, Observed

from telemetry_collector.clock import ManualClock
from telemetry_collector.store.joining import HourJoiner
from telemetry_collector.store.part import PartName
from telemetry_collector.writers.parquet import ParquetConfig, ParquetWriter


def writer(
    root: Path,
    observed: Observed | None = None,
    clock: ManualClock | None = None,
    lanes: int | None = None,
    **keys: Any,
) -> ParquetWriter:
    config = ParquetConfig(output_dir=root, **keys)
    context = (observed or Observed()).context("parquet")
    return ParquetWriter(config, context, clock, joiner=HourJoiner, lanes=lanes)


def name(start: int, end: int) -> str:
    return str(PartName(JOURNAL_ID, start, end))
