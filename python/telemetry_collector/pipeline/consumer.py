"""Brings committed blocks to one writer, at its own pace from its own durable cursor.

A writer is handed blocks when enough points have gathered (`batch_points`) or its flush interval has passed since the
first of them; it is flushed once an interval, and only then the cursor moves on disk. A writer that fails is stopped,
started anew when its breaker lets it and reads again from its stored position: what it had not flushed comes once more,
and no other writer notices. The first it gets then is one batch, flushed at once: it tells whether more would pass.

A writer may have to give way (`drop_oldest`): it is stopped wherever it is, its cursor is moved past what the journal
can no longer keep, and it starts anew behind the gap.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import ParamSpec, Protocol, TypeVar, final

from telemetry_collector.breaker import Abandoned, Breaker, State
from telemetry_collector.clock import Clock, SystemClock
from telemetry_collector.component import Blocks, Writer
from telemetry_collector.config import WriterSection
from telemetry_collector.errors import ConfigError, JournalError, PermanentError, RetryableError
from telemetry_collector.observe.logs import logger
from telemetry_collector.pipeline.pace import BEHIND_SECS, STEP_SECS, Pace

P = ParamSpec("P")
R = TypeVar("R")

log = logger(__name__)

# Points handed over in one call at most: bounds what a writer must hold at a time. Twice as many took a tenth more
# processor time, for they no longer fit into a cache.
READ_POINTS_MAX = 32_768
# A flush begins after this share of the interval: what is promised is that points are visible at its end.
FLUSH_AT = 0.8
# How often a writer may do its background work.
MAINTAIN_INTERVAL_SECS = 5.0
# What points that gave way are counted under.
JOURNAL_FULL = "journal_full"


class Cursor(Protocol):
    """What the fan-out needs of the core's cursor."""

    @property
    def position(self) -> int: ...
    @property
    def stored(self) -> int: ...
    @property
    def lag_bytes(self) -> int: ...
    @property
    def lag_points(self) -> int: ...
    @property
    def lag_secs(self) -> float: ...
    def want(self, points: int) -> None: ...
    def read(self, points_max: int) -> Blocks | None: ...
    def measure(self, start: int, end: int) -> tuple[int, int, tuple[int, int] | None]: ...
    def claim(self, position: int) -> bool: ...
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
        """Points that a writer will never get: it cannot take them, or the journal could not keep them."""


def _nothing_comes_in() -> float:
    return 0.0


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
        *,
        section: WriterSection | None = None,
        breaker: Breaker | None = None,
        live_points_per_sec: Callable[[], float] = _nothing_comes_in,
        clock: Clock | None = None,
    ) -> None:
        """`section` is the writer's own, and `breaker` the one that it was given; both have defaults."""
        section = section or WriterSection()
        self._clock = clock or SystemClock()
        self.name = name
        #: Whether it gives way when the journal is full.
        self.drops_oldest = section.when_full == "drop_oldest"
        #: Whether attempts are made at present.
        self.breaker = breaker or Breaker(section.retry_secs_max, self._clock)
        self._pace = Pace(
            section.catch_up_points_per_sec,
            live_points_per_sec,
            self._clock,
            behind_secs=writer.flush_interval_secs + BEHIND_SECS,
        )
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
        # What to interrupt for the consumer to give way, up to where it is to, and when it has.
        self._living: asyncio.Future[None] | None = None
        self._give_way_to = 0
        self._gave_way = asyncio.Event()

    @property
    def failing(self) -> str | None:
        """Why nothing is written at the moment; None when all is well."""
        return self._failure or self._destination.failing

    @property
    def points_refused(self) -> int:
        """Points that the destination refused for good since the start of the process."""
        return self._destination.points_refused

    @property
    def stored(self) -> int:
        """The journal's position before which it needs nothing any more."""
        return self._cursor.stored

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
        """More blocks may be readable. Called after commits that some writer wanted, or that made replies due, so it
        only looks whether waking the task pays."""
        if self._pending_since is None or self._cursor.lag_points >= self._writer.batch_points:
            self._wake.set()

    def finish(self) -> None:
        """Asks `run` to read what is committed, flush and return.

        What a destination that is down has not taken, and what one that is catching up lacks, stays in the journal.
        """
        self._stopping.set()
        self._wake.set()
        self.breaker.abandon()

    async def give_way(self, position: int, timeout_secs: float) -> bool:
        """Gives up everything before the position that the destination does not have; False when that is not done in
        time, because the writer cannot be stopped or the cursor not be stored."""
        self._give_way_to = max(self._give_way_to, position)
        self._gave_way.clear()
        if self._living is not None:
            self._living.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._gave_way.wait(), timeout_secs)
        return self.stored >= position

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
        while True:
            try:
                if self._give_way_to > self.stored:
                    await self._pass_over(self._give_way_to)
                elif await self._live_on():
                    return
            except Abandoned:
                pass
            except (RetryableError, ConfigError, JournalError) as error:
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

    async def _live_on(self) -> bool:
        """Lives until the consumer has finished (True) or is to give way (False)."""
        living = self._living = asyncio.ensure_future(self._live())
        try:
            await asyncio.wait((living,))
        finally:
            self._living = None
            if not living.done():
                living.cancel()
                await asyncio.wait((living,))
        if living.cancelled():
            return False
        living.result()
        return True

    async def _live(self) -> None:
        if not self._opened:
            await self.breaker.wait()
            await self._start_writer()
        self._opened = False
        await self._feed()

    async def _pass_over(self, position: int) -> None:
        """Moves the cursor of a stopped writer to the position, and tells what is lost by it."""
        self._opened = False
        # Whoever wants it asks again if it fails.
        self._give_way_to = 0
        # The destination may have more than the cursor says. One that cannot tell has what was stored.
        start = self._cursor.stored
        with contextlib.suppress(RetryableError, ConfigError):
            start = max(await self._writer.start(start), start)
        await self._stop_writer()
        batches, points, received = 0, 0, None
        if start < position:
            batches, points, received = await _to_its_end(self._cursor.measure, start, position)
        await _to_its_end(self._cursor.store, max(start, position))
        self._gave_way.set()
        if points:
            self._failure = "the journal was full, and this writer gave way"
            self._events.dropped(self.name, points, JOURNAL_FULL)
            first, last = (_moment(us) for us in received or (0, 0))
            log.error(
                "writer_points_dropped",
                writer=self.name,
                reason=JOURNAL_FULL,
                points=points,
                batches=batches,
                start=start,
                end=position,
                received_first=first,
                received_last=last,
            )

    async def _start_writer(self) -> None:
        position = await self._writer.start(self._cursor.stored)
        if await asyncio.to_thread(self._cursor.claim, position):
            # A disk lost what it had synced, or an older copy of the journal was put back. Were positions given out a
            # second time, the destination would take what comes for something that it has.
            log.error(
                "journal_behind_destination",
                writer=self.name,
                position=position,
                effect="the journal lacks records that were written; what comes now goes behind them",
            )
        self._cursor.seek(position)
        self._taken.clear()
        self._refused_before = self._destination.points_refused
        self._pending_since = None

    async def _feed(self) -> None:
        while True:
            await self._gather()
            # Decided before reading: what was committed by then is read to its end before the consumer finishes.
            finishing = self._stopping.is_set()
            before = self._cursor.position, self._cursor.lag_bytes
            read_all = await self._read()
            if self._taken and (finishing or self._flush_in() <= 0):
                await self._flush()
            if not self._taken:
                # Flushed, or only records that cannot be read: what comes next starts a new interval.
                self._pending_since = None
                if finishing and read_all:
                    return
                if self._gets_nothing(before):
                    raise RetryableError("the journal has points for it, and reading gives none")

    def _gets_nothing(self, before: tuple[int, int]) -> bool:
        """Whether a read that began at that position, so many bytes behind, gave nothing of a whole batch. Looked at
        again at once, as a batch is, it would take a processor and tell nobody. A journal that another one was put in
        place of is such. By the bytes alone, one to which as much came as was read would be, too."""
        waits = self._cursor.lag_points >= self._writer.batch_points
        return waits and (self._cursor.position, self._cursor.lag_bytes) == before and not self._stopping.is_set()

    async def _read(self) -> bool:
        """Hands over what is readable, until a flush is due. True when nothing more is to be handed over."""
        while True:
            points_max = READ_POINTS_MAX
            pace = self._pace.points_per_sec(lambda: self._cursor.lag_secs)
            if pace is not None:
                if self._stopping.is_set():
                    return True
                await self._pace.turn(self._stopping)
                if self._stopping.is_set():
                    return True
                points_max = min(points_max, max(int(pace * STEP_SECS), 1))
            if self.breaker.state is not State.CLOSED:
                points_max = min(points_max, self._writer.batch_points)
            blocks = await _to_its_end(self._cursor.read, points_max)
            if blocks is None:
                return True
            if pace is not None:
                self._pace.delivered(blocks.points, pace)
            await self._hand_over(blocks)
            if self._flush_in() <= 0:
                return False

    async def _gather(self) -> None:
        """Waits until enough points are readable, the flush interval has passed or the consumer is to finish."""
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            if self._pending_since is None and self._cursor.lag_points:
                self._pending_since = loop.time()
            self._cursor.want(1 if self._pending_since is None else self._writer.batch_points)
            lag_points = self._cursor.lag_points
            if self._pending_since is None and lag_points:
                # Committed between the two looks, so nobody will say so.
                continue
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
            log.error(
                "writer_refused_points",
                writer=self.name,
                points=blocks.points,
                start=blocks.start,
                end=blocks.end,
                error=str(error),
            )
            self._events.dropped(self.name, blocks.points, str(error.__class__.__name__))
        else:
            self._taken.append((blocks.points, blocks.received_first_us))

    async def _flush(self) -> None:
        position = await self._writer.flush()
        await _to_its_end(self._cursor.store, position)
        self.breaker.succeeded()
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
        if self._taken and self.breaker.state is not State.CLOSED:
            return 0.0
        interval = FLUSH_AT * self._writer.flush_interval_secs
        return self._pending_since + interval - asyncio.get_running_loop().time()

    def _on_failure(self, error: Exception) -> None:
        retry_after_secs = error.retry_after_secs if isinstance(error, RetryableError) else None
        retry_secs = self.breaker.failed(retry_after_secs)
        self._failure = str(error) or type(error).__name__
        self._events.failed(self.name, type(error).__name__)
        log.warning("writer_failed", writer=self.name, error=self._failure, retry_secs=retry_secs)

    async def close(self) -> None:
        """Frees the writer of a consumer that never ran."""
        await self._stop_writer()

    async def _stop_writer(self) -> None:
        try:
            await self._writer.stop()
        except Exception:
            # Stopping is best effort after a failure; what was not flushed is read again.
            log.exception("writer_stop_failed", writer=self.name)


async def _to_its_end(work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Runs work on the cursor in a thread, to its end even when the caller is cancelled: nothing moves the cursor
    behind the back of what comes next."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,))
        raise


def _moment(unix_us: int) -> str:
    return datetime.fromtimestamp(unix_us / 1e6, UTC).isoformat(timespec="milliseconds")
