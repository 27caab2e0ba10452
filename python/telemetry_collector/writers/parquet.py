"""Writes blocks into the hive-partitioned Parquet dataset and compacts what is past.

Blocks gather in a staged file; `flush` finishes, syncs and publishes it under the journal range that it holds. So a
crash loses at most what the cursor has not passed, and what was published is never written again: `start` returns the
greatest end among the published names. One thread makes record batches of blocks and publishes; others encode, each a
part of its own (`store/lanes`); one more waits for compaction, whose work a process of its own does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, TypeVar, final

from pydantic import Field

from telemetry_collector.clock import Clock, SystemClock
from telemetry_collector.component import ArrowRecordBatch, Blocks, WriterContext
from telemetry_collector.config import PositiveInt, Seconds, Section, WholeSeconds, WriterSection
from telemetry_collector.errors import CoreError, PermanentError, RetryableError
from telemetry_collector.observe.logs import logger
from telemetry_collector.store.compaction import Compactor, Failed, Joiner
from telemetry_collector.store.dataset import Dataset
from telemetry_collector.store.encoding import Compression
from telemetry_collector.store.format import POINTS, OpenPart, PartError, PartFormat
from telemetry_collector.store.joining_process import JoinerProcess
from telemetry_collector.store.lanes import Lane, Lanes, usable_lanes
from telemetry_collector.store.part import PartName, partition

T = TypeVar("T")

log = logger(__name__)

# Looking for past periods lists the dataset's hours, so it is not done at every chance.
_COMPACTION_INTERVAL_SECS: Final = 30
# A period's last parts are published within one flush interval of its end; compaction waits for two.
_SETTLE_FLUSHES: Final = 2


class ParquetConfig(WriterSection):
    """The section `parquet`."""

    output_dir: Annotated[Path, Field(description="the dataset's directory")] = Path("/var/lib/horizon/telemetry")
    rotation_interval_secs: WholeSeconds = Field(
        3600, description="the period, in seconds, whose files are joined when it is over; never across an hour"
    )
    compression: Compression = Field("snappy", description="snappy, zstd or none")
    flush_interval_secs: Seconds = Field(10, description="within how many seconds what was received is readable")
    file_max_bytes: PositiveInt = Field(512 * 1024 * 1024, description="bytes that a compacted file has at most")
    timestamp_unit: Literal["us", "ns"] = Field("us", description="us or ns, the unit of timestamps")


@final
class ParquetWriter:
    """See the module. Memory is bounded by the blocks of a call, what lanes hold, and a row group being compacted."""

    Config: ClassVar[type[Section]] = ParquetConfig

    # What waits for this is held in memory, and it is encoded as it comes: more at a time makes no file better.
    batch_points: Final = 25_000

    def __init__(
        self,
        config: ParquetConfig,
        context: WriterContext,
        clock: Clock | None = None,
        part_format: PartFormat = POINTS,
        joiner: Callable[[PartFormat], Joiner] = JoinerProcess,
        lanes: int | None = None,
    ) -> None:
        """`lanes` parts at most are in the making; by default as many as there are processors to use."""
        self._config = config
        self._format = part_format
        self._joiner = joiner
        self._context = context
        self._clock = clock or SystemClock()
        self._dataset = Dataset(
            config.output_dir, context.journal_id, key=f"{context.name}.output_dir", clock=self._clock
        )
        self._writing = ThreadPoolExecutor(1, thread_name_prefix=context.name)
        self._compacting = ThreadPoolExecutor(1, thread_name_prefix=f"{context.name}-compaction")
        self._settle_secs = _SETTLE_FLUSHES * config.flush_interval_secs
        self._compactor: Compactor | None = None
        self._compaction: asyncio.Task[None] | None = None
        self._next_compaction = 0.0
        # These belong to the writing thread.
        self._lanes = Lanes(
            self._create,
            self._publish,
            count=lanes or usable_lanes(),
            file_bytes_max=config.file_max_bytes,
            name=f"{context.name}-lane",
        )
        # When the last blocks were received, microseconds since 1970, and when they came here, on the monotonic clock.
        self._latest: tuple[int, float] | None = None

    @property
    def flush_interval_secs(self) -> float:
        """See `Writer`."""
        return self._config.flush_interval_secs

    async def start(self, stored: int) -> int:
        """Locks the directory, removes what an earlier process left staged and finds what it published.

        ConfigError when the directory cannot be used or another process writes it.
        """
        await self.stop()
        position = await self._in_thread(lambda: self._begin(stored))
        self._compactor = Compactor(
            self._dataset,
            self._joiner(self._format),
            compression=self._config.compression,
            file_bytes_max=self._config.file_max_bytes,
            period_secs=self._config.rotation_interval_secs,
            settle_secs=self._settle_secs,
        )
        return position

    async def write(self, blocks: Blocks) -> None:
        """Takes blocks; publishes by itself when their hour is another or the file has its size."""
        await self._in_thread(lambda: self._take(blocks))

    async def flush(self) -> int:
        """Publishes what was taken; returns where the journal's published range ends."""
        return await self._in_thread(self._flush)

    async def maintain(self) -> None:
        """Begins, when none is under way, to compact every period that is over."""
        now = self._clock.monotonic()
        if self._compactor is None or self._compaction is not None or now < self._next_compaction:
            return
        self._next_compaction = now + _COMPACTION_INTERVAL_SECS
        self._compaction = asyncio.create_task(self._compact(self._compactor), name=f"{self._context.name} compaction")

    async def settled(self) -> None:
        """Waits until the compaction that `maintain` began, if any, has ended."""
        if self._compaction is not None:
            await asyncio.shield(self._compaction)

    async def stop(self) -> None:
        """Ends compaction within a row group, throws away what was not flushed and releases the directory."""
        if self._compactor is not None:
            self._compactor.stop()
        try:
            await self.settled()
        finally:
            # Whoever cancels this gives up on the compaction; the lock would keep the successor out of the directory.
            self._compactor = None
            await asyncio.shield(self._in_thread(self._end))

    async def _in_thread(self, work: Callable[[], T], threads: ThreadPoolExecutor | None = None) -> T:
        """Runs the work to its end even when the caller is cancelled: the next call finds a whole state, after it."""
        return await asyncio.get_running_loop().run_in_executor(threads or self._writing, work)

    # In the writing thread.

    def _begin(self, stored: int) -> int:
        self._dataset.open()
        self._lanes.begin(max(stored, self._dataset.published_end))
        return self._lanes.position

    def _end(self) -> None:
        try:
            self._lanes.discard()
        finally:
            self._dataset.close()

    def _take(self, blocks: Blocks) -> None:
        if blocks.start < self._lanes.position:
            raise RetryableError(
                f"blocks [{blocks.start}, {blocks.end}) were handed over; expected some that "
                f"begin at {self._lanes.position}"
            )
        rows = self._rows(blocks)
        with self._faults():
            self._lanes.take(rows, blocks.hour, blocks.end)
        self._latest = blocks.received_last_us, self._clock.monotonic()

    def _rows(self, blocks: Blocks) -> ArrowRecordBatch:
        try:
            return blocks.record_batch(self._config.timestamp_unit)
        except CoreError as error:
            raise PermanentError(f"blocks [{blocks.start}, {blocks.end}) make no record batch: {error}") from error

    def _flush(self) -> int:
        with self._faults():
            return self._lanes.flush()

    def _create(self, rows: ArrowRecordBatch) -> OpenPart:
        return self._format.create(self._dataset.stage(".part"), rows.schema, self._config.compression)

    def _publish(self, part: Lane) -> None:
        name = PartName(self._context.journal_id, part.start, part.end)
        path = self._dataset.publish(part.path, part.hour, name)
        self._context.events.published(str(path), part.rows, part.file_bytes)

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (OSError, CoreError, PartError) as error:
            raise RetryableError(f"cannot write to {self._config.output_dir}: {error}") from error

    # Compaction.

    async def _compact(self, compactor: Compactor) -> None:
        try:
            await self._in_thread(lambda: self._compact_due(compactor), self._compacting)
        except Exception:
            # A defect here must not end the writing of new data; the log has all of it, and the next round tries again.
            log.exception("compaction_defect", writer=self._context.name)
        finally:
            self._compaction = None

    def _compact_due(self, compactor: Compactor) -> None:
        events, latest, busy_us = self._context.events, self._latest, None
        if latest is not None and self._clock.monotonic() - latest[1] < self._settle_secs:
            busy_us = latest[0]
        for outcome in compactor.run(self._clock.unix_secs(), busy_us):
            if isinstance(outcome, Failed):
                events.compaction_failed(str(partition(outcome.hour)), str(outcome.error))
            else:
                events.compacted(str(partition(outcome.hour)), outcome.files, outcome.into, outcome.rows)
