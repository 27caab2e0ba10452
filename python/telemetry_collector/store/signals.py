"""The datasets of traces and logs. Their columns are the core's to say; pyarrow encodes them.

The core's encoder is made for points, whose columns repeat themselves; spans and log records come a hundred times less
often, have maps in lists, and are none the worse for a library. Who keeps none of them does without its memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from telemetry_collector import _core
from telemetry_collector.component import ArrowSchema
from telemetry_collector.store.encoding import Compression
from telemetry_collector.store.format import OpenPart, PartFormat

if TYPE_CHECKING:
    import pyarrow as pa

Signal = Literal["traces", "logs"]

DATASET_KEY: Final = "telemetry.dataset"
"""Key of the signal's name in each file's metadata; files of points have none."""


def signal_schema(signal: Signal, timestamp_unit: Literal["us", "ns"] = "us") -> pa.Schema:
    """The columns of spans or of log records, in order."""
    import pyarrow as pa

    return pa.schema(_core.Signals.no_rows(signal, timestamp_unit).schema)


def _create(path: Path, schema: ArrowSchema, compression: Compression) -> OpenPart:
    from telemetry_collector.store.arrow_part import ArrowPartFile

    return ArrowPartFile(path, schema, compression)


SIGNALS: Final[Mapping[Signal, PartFormat]] = {
    "traces": PartFormat("traces", _create),
    "logs": PartFormat("logs", _create),
}
"""By their names."""
