"""Brings committed blocks to every writer, each at its own pace from its own durable cursor.

A writer is handed blocks when enough points have gathered (`batch_points`) or its flush interval has passed since the
first of them; it is flushed once an interval, and only then the cursor moves on disk. A writer that fails is stopped,
started anew after a growing pause and reads again from its stored position: what it had not flushed comes once more,
and no other writer notices.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterable
from typing import Protocol, final

from telemetry_collector.component import Blocks, Writer
from telemetry_collector.errors import ConfigError, PermanentError, RetryableError
from telemetry_collector.observe.logs import logger

log = logger(__name__)

# Points handed over in one call at most: bounds what a writer must hold at a time.
READ_POINTS_MAX = 262_144
# Pauses after failures grow from the first to the second of these, doubling, with up to as much jitter again.
RESTART_PAUSE_SECS_MIN = 0.5
RESTART_PAUSE_SECS_MAX = 30.0
# A flush begins after this share of the interval: what is promised is that points are visible at its end.
FLUSH_AT = 0.8
# How often a writer may do its background work.
MAINTAIN_INTERVAL_SECS = 5.0
# A writer that was told to end at once may still take so long; one that hangs in a thread never ends.
CANCEL_SECS_MAX = 0.5


class Cursor(Protocol):
    """What the fan-out needs of the core's cursor."""

    @property
    def stored(self) -> int: ...
    @property
    def lag_bytes(self) -> int: ...
    @property
    def lag_points(self) -> int: ...
    @property
    def lag_secs(self) -> float: ...
    def read(self, points_max: int) -> Blocks | None: ...
    def seek(self, position: int) -> None: ...
    def store(self, position: int) -> None: ...


class Destination(Protocol):
    """What a writer says of its destination while it is busy with it."""

    @property
    def failing(self) -> str | None:
        """What keeps it from taking anything; None when nothing does."""

    @property
    def points_refused(self) -> int:
        """Points that it refused for good, of those that the writer was handed."""


class FanOutEvents(Protocol):
    """Who counts what the fan-out sees."""

    def written(self, writer: str, points: int, received_first_us: int) -> None:
        """A writer has made a batch of blocks durable at its destination; its first was received then."""

    def failed(self, writer: str, reason: str) -> None:
        """A writer failed and will be started anew."""

    def dropped(self, writer: str, points: int, reason: str) -> None:
        """A writer refused points for good."""


@final
class Consumer:
    """One writer and its cursor. `run` is its life; the other methods are called from the same event loop."""

    def __init__(
        self,
        name: str,
        writer: Writer,
        cursor: Cursor,
        events: FanOutEvents,
        destination: Destination,
    ) -> None:
        self.name = name
        self._destination = destination
        self._failure: str | None = None
        #: Points made durable at the destination since the start of the process.
        self.points_written = 0
        # What the destination had refused when the writer was started or flushed last.
        self._refused_before = 0
        self._writer = writer
        self._cursor = cursor
        self._events = events
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        # (points, received_first_us) of each hand-over since the last flush, and when the first became known.
        self._taken: list[tuple[int, int]] = []
        self._pending_since: float | None = None
        self._next_maintenance = 0.0
        self._opened = False

    @property
    def failing(self) -> str | None:
        """Why nothing is written at the moment; None when all is well."""
        return self._failure or self._destination.failing

    @property
    def points_refused(self) -> int:
        """Points that the destination refused for good since the start of the process."""
        return self._destination.points_refused

    @property
    def lag_bytes(self) -> int:
        """Committed journal bytes not read yet."""
        return self._cursor.lag_bytes

    @property
    def lag_points(self) -> int:
        """Committed points not read yet."""
        return self._cursor.lag_points

    @property
    def lag_secs(self) -> float:
        """Age of the oldest batch that is not durable at the destination."""
        return self._cursor.lag_secs

    def committed(self) -> None:
        """More blocks may be readable. Called after every commit, so it only looks whether waking the task pays."""
        if self._pending_since is None or self._cursor.lag_points >= self._writer.batch_points:
            self._wake.set()

    def finish(self) -> None:
        """Asks `run` to read what is committed, flush and return."""
        self._stopping.set()
        self._wake.set()

    async def open(self) -> None:
        """Starts the writer for the first time. What only an operator can mend (a ConfigError) comes out here; a
        destination that is merely down is left to `run`."""
        try:
            await self._start_writer()
        except RetryableError as error:
            self._on_failure(error)
            await self._stop_writer()
        else:
            self._opened = True

    async def run(self) -> None:
        """Feeds the writer until `finish`, starting it anew after each failure."""
        pause = RESTART_PAUSE_SECS_MIN
        while True:
            written_before = self.points_written
            try:
                if not self._opened:
                    await self._start_writer()
                self._opened = False
                await self._feed()
                return
            except (RetryableError, ConfigError) as error:
                # Whoever runs the collector can mend what became unusable since the start; nothing is lost until then.
                self._on_failure(error)
            except Exception as error:
                # A defect in one writer must not end the others: it is logged whole, and the writer starts anew.
                log.exception("writer_defect", writer=self.name)
                self._on_failure(error)
            finally:
                await self._stop_writer()
            if self._stopping.is_set():
                return
            if self.points_written > written_before:
                pause = RESTART_PAUSE_SECS_MIN
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause * (1 + random.random()))
            pause = min(2 * pause, RESTART_PAUSE_SECS_MAX)

    async def _start_writer(self) -> None:
        self._cursor.seek(await self._writer.start(self._cursor.stored))
        self._taken.clear()
        self._refused_before = self._destination.points_refused
        self._pending_since = None

    async def _feed(self) -> None:
        while True:
            await self._gather()
            # Decided before reading: what was committed by then is read to its end before the consumer finishes.
            finishing = self._stopping.is_set()
            read_all = await self._read()
            if self._taken and (finishing or self._flush_in() <= 0):
                await self._flush()
            if not self._taken:
                # Flushed, or only records that cannot be read: what comes next starts a new interval.
                self._pending_since = None
                if finishing and read_all:
                    return

    async def _read(self) -> bool:
        """Hands over what is readable, until a flush is due. True when everything was handed over."""
        while (blocks := await asyncio.to_thread(self._cursor.read, READ_POINTS_MAX)) is not None:
            await self._hand_over(blocks)
            if self._flush_in() <= 0:
                return False
        return True

    async def _gather(self) -> None:
        """Waits until enough points are readable, the flush interval has passed or the consumer is to finish."""
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            lag_points = self._cursor.lag_points
            if self._pending_since is None and lag_points:
                self._pending_since = loop.time()
            if lag_points >= self._writer.batch_points or self._flush_in() <= 0:
                return
            if loop.time() >= self._next_maintenance:
                await self._writer.maintain()
                self._next_maintenance = loop.time() + MAINTAIN_INTERVAL_SECS
                continue
            self._wake.clear()
            timeout = min(self._flush_in(), self._next_maintenance - loop.time())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(timeout, 0.0))

    async def _hand_over(self, blocks: Blocks) -> None:
        if self._pending_since is None:
            self._pending_since = asyncio.get_running_loop().time()
        try:
            await self._writer.write(blocks)
        except PermanentError as error:
            log.error("writer_refused_points", writer=self.name, points=blocks.points, error=str(error))
            self._events.dropped(self.name, blocks.points, str(error.__class__.__name__))
        else:
            self._taken.append((blocks.points, blocks.received_first_us))

    async def _flush(self) -> None:
        position = await self._writer.flush()
        await asyncio.to_thread(self._cursor.store, position)
        for points, received_first_us in self._taken:
            self.points_written += points
            self._events.written(self.name, points, received_first_us)
        self.points_written -= self.points_refused - self._refused_before
        self._refused_before = self.points_refused
        self._taken.clear()
        self._pending_since = None
        self._failure = None

    def _flush_in(self) -> float:
        """Seconds until the flush is due; infinite when nothing is pending."""
        if self._pending_since is None:
            return float("inf")
        interval = FLUSH_AT * self._writer.flush_interval_secs
        return self._pending_since + interval - asyncio.get_running_loop().time()

    def _on_failure(self, error: Exception) -> None:
        self._failure = str(error) or type(error).__name__
        self._events.failed(self.name, type(error).__name__)
        log.warning("writer_failed", writer=self.name, error=self._failure)

    async def close(self) -> None:
        """Frees the writer of a consumer that never ran."""
        await self._stop_writer()

    async def _stop_writer(self) -> None:
        try:
            await self._writer.stop()
        except Exception:
            # Stopping is best effort after a failure; what was not flushed is read again.
            log.exception("writer_stop_failed", writer=self.name)


@final
class FanOut:
    """All consumers of the journal."""

    def __init__(self, consumers: Iterable[Consumer]) -> None:
        self.consumers = tuple(consumers)
        self._tasks: dict[Consumer, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Opens every writer, then starts their tasks on the running loop. A ConfigError names what is wrong."""
        for consumer in self.consumers:
            await consumer.open()
        for consumer in self.consumers:
            self._start(consumer)

    def committed(self) -> None:
        """More blocks may be readable."""
        for consumer in self.consumers:
            consumer.committed()

    async def add(self, consumer: Consumer) -> None:
        """Opens one more writer and starts its task. After a ConfigError it is closed and none of them."""
        try:
            await consumer.open()
        except BaseException:
            await consumer.close()
            raise
        self.run(consumer)

    def run(self, consumer: Consumer) -> None:
        """Starts the task of one more writer, which opens it, again and again if need be."""
        self.consumers = (*self.consumers, consumer)
        self._start(consumer)

    async def remove(self, consumer: Consumer, timeout_secs: float) -> bool:
        """Lets one consumer write what is committed, then ends it. True when it did not manage in time."""
        consumer.finish()
        late = await self._end((consumer,), timeout_secs)
        self._tasks.pop(consumer, None)
        self.consumers = tuple(each for each in self.consumers if each is not consumer)
        return bool(late)

    async def stop(self, timeout_secs: float) -> list[str]:
        """Lets every consumer write what is committed; the names of those that did not manage in time. Idempotent, and
        safe before `start` or after it failed."""
        for consumer in self.consumers:
            consumer.finish()
            if consumer not in self._tasks:
                await consumer.close()
        return await self._end(self.consumers, timeout_secs)

    def _start(self, consumer: Consumer) -> None:
        self._tasks[consumer] = asyncio.create_task(consumer.run(), name=f"writer {consumer.name}")

    async def _end(self, consumers: Iterable[Consumer], timeout_secs: float) -> list[str]:
        tasks = {self._tasks[each]: each for each in consumers if each in self._tasks}
        if not tasks:
            return []
        _, late = await asyncio.wait(tasks, timeout=timeout_secs)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=CANCEL_SECS_MAX)
        return [tasks[task].name for task in late]
