"""The columns of the dataset. docs/dataset.md explains them to its readers; a change raises SCHEMA_VERSION."""

from typing import Final, Literal

import pyarrow as pa

SCHEMA_VERSION: Final = "1"
SCHEMA_VERSION_KEY: Final = "telemetry.schema_version"
"""Key of the version in each file's metadata."""

DICTIONARY_COLUMNS: Final = ("name", "type", "unit", "node_id", "region", "zone", "service", "version", "identity")
"""Columns that are dictionaries in memory. In files they are plain strings to every reader."""

_KEYWORD = pa.dictionary(pa.int32(), pa.utf8())


def _list_of(item: pa.DataType) -> pa.DataType:
    """With the name that Parquet requires of a list's elements, so that files read back as what was written."""
    return pa.list_(pa.field("element", item))


_HISTOGRAM = pa.struct(
    {
        "count": pa.int64(),
        "sum": pa.float64(),
        "min": pa.float64(),
        "max": pa.float64(),
        "bounds": _list_of(pa.float64()),
        "counts": _list_of(pa.int64()),
    }
)

_SUMMARY = pa.struct(
    {
        "count": pa.int64(),
        "sum": pa.float64(),
        "quantiles": _list_of(pa.float64()),
        "values": _list_of(pa.float64()),
    }
)


def points_schema(timestamp_unit: Literal["us", "ns"] = "us") -> pa.Schema:
    """The columns of points, in order. There are no unsigned columns: not every reader knows them."""
    instant = pa.timestamp(timestamp_unit, tz="UTC")
    return pa.schema(
        [
            pa.field("timestamp", instant, nullable=False),
            pa.field("received", instant, nullable=False),
            pa.field("name", _KEYWORD, nullable=False),
            pa.field("type", _KEYWORD, nullable=False),
            pa.field("unit", _KEYWORD, nullable=False),
            pa.field("value", pa.float64()),
            pa.field("delta", pa.bool_(), nullable=False),
            pa.field("node_id", _KEYWORD),
            pa.field("region", _KEYWORD),
            pa.field("zone", _KEYWORD),
            pa.field("service", _KEYWORD),
            pa.field("version", _KEYWORD),
            pa.field("tags", pa.map_(pa.utf8(), pa.utf8()), nullable=False),
            pa.field("histogram", _HISTOGRAM),
            pa.field("summary", _SUMMARY),
            pa.field("identity", _KEYWORD, nullable=False),
            pa.field("epoch", pa.int64(), nullable=False),
            pa.field("sequence", pa.int64(), nullable=False),
        ],
        metadata={SCHEMA_VERSION_KEY: SCHEMA_VERSION},
    )
