"""Prints what arrives: a summary a flush and, where wanted, the first points of each. For trying things out.

It also shows all that a writer is: a section, a class with the methods of `component.Writer`, and an entry point.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, TextIO, final

from pydantic import Field

from telemetry_collector.component import Blocks, WriterContext
from telemetry_collector.config import Seconds, Section, WriterSection
from telemetry_collector.model import STANDARD_TAGS


class ConsoleConfig(WriterSection):
    """The section `console`."""

    every_secs: Seconds = Field(5, description="seconds between two summaries")
    max_rows: int = Field(0, ge=0, le=1_000, description="points shown with each summary")


@final
class ConsoleWriter:
    """Keeps `max_rows` points and two counts between flushes, nothing else."""

    Config: ClassVar[type[Section]] = ConsoleConfig

    batch_points: Final = 10_000

    def __init__(self, config: ConsoleConfig, context: WriterContext, stream: TextIO | None = None) -> None:
        self._config = config
        self._events = context.events
        self._stream = stream
        self._position = 0
        self._points = self._batches = 0
        self._rows: list[str] = []

    @property
    def flush_interval_secs(self) -> float:
        """See `Writer`."""
        return self._config.every_secs

    async def start(self, stored: int) -> int:
        """Begins where the last process stopped printing."""
        await self.stop()
        self._position = stored
        return stored

    async def write(self, blocks: Blocks) -> None:
        """Counts, and keeps the first points."""
        wanted = self._config.max_rows - len(self._rows)
        if wanted > 0:
            self._rows += await asyncio.to_thread(_first_rows, blocks, wanted)
        self._points += blocks.points
        self._batches += blocks.batches
        self._position = blocks.end

    async def flush(self) -> int:
        """Prints the summary and the points kept."""
        summary = f"{_counted(self._points, 'point', 'points')} in {_counted(self._batches, 'batch', 'batches')}"
        text = "".join(f"{line}\n" for line in (summary, *self._rows))
        stream = self._stream or sys.stdout
        stream.write(text)
        stream.flush()
        self._events.written(self._points)
        self._forget()
        return self._position

    async def maintain(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Forgets what was not printed."""
        self._forget()

    def _forget(self) -> None:
        self._points = self._batches = 0
        self._rows = []


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _first_rows(blocks: Blocks, count: int) -> list[str]:
    import pyarrow as pa

    batch = pa.record_batch(blocks.record_batch("us"))
    return [_line(row) for row in batch.slice(0, count).to_pylist()]


def _line(row: dict[str, Any]) -> str:
    """`07:31:04.250 system.cpu.usage 0.41 1 node_id=node-1 zone=a`, or count and sum in place of the value."""
    moment = datetime.fromtimestamp(row["timestamp"].timestamp(), UTC)
    distribution = row["histogram"] or row["summary"]
    value = f"count={distribution['count']} sum={distribution['sum']:g}" if distribution else f"{row['value']:g}"
    columns = [(key, row[key]) for key in STANDARD_TAGS if row[key] is not None]
    tags = " ".join(f"{key}={tag}" for key, tag in [*columns, *row["tags"]])
    return " ".join(part for part in (f"{moment:%H:%M:%S.%f}"[:-3], row["name"], value, row["unit"], tags) if part)
