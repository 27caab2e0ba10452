"""Answers questions beside the event loop: each on a thread of its own, within bounds on all of it.

The threads have a lower priority than the rest of the process, whose work cannot wait. DuckDB releases the GIL, and
rows become Python objects in small helpings.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from telemetry_collector.query.answer import Answer, Series, Value
from telemetry_collector.query.buckets import quantile
from telemetry_collector.query.errors import (
    AnswerTooLarge,
    DatasetUnreadable,
    InvalidQuery,
    QueryBusy,
    QueryTimedOut,
    QueryTooLarge,
)
from telemetry_collector.query.files import files_of
from telemetry_collector.query.priority import give_way
from telemetry_collector.query.query import Aggregation, Query
from telemetry_collector.query.statement import TIME_TYPE, names, statement

if TYPE_CHECKING:
    import duckdb

ROWS_AT_A_TIME: Final = 1_000
"""Rows made into Python objects before others may have the interpreter."""
INTERRUPT_EVERY_SECS: Final = 0.05
"""DuckDB forgets an interruption that comes before its work has begun, so it is repeated until the work has ended."""
STOP_SECS_MAX: Final = 5.0
"""How long stopping waits for work that was interrupted."""
ENDED: Final = "it was ended before it was done: nobody waits for it any more, or the collector stops"
MIB: Final = 1024**2


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Where the dataset is, and what a question may take."""

    root: Path
    threads: int
    """Over all questions."""
    memory_bytes_max: int
    """Over all questions; none of it is swapped to disk."""
    timeout_secs: float
    at_a_time: int
    """Questions under way; one more is refused."""
    range_secs_max: float
    series_max: int
    points_max: int
    late_secs: int
    """How long after a measurement its point may have been received."""
    ahead_secs: int
    """How long before."""


@final
class Engine:
    """Answers from one dataset. Used from one event loop."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._running: set[_Work] = set()
        self._pool = ThreadPoolExecutor(settings.at_a_time, "query", initializer=give_way)
        self._opening = threading.Lock()
        self._database: duckdb.DuckDBPyConnection | None = None

    async def ask(self, query: Query) -> Answer:
        """The answer, or a QueryError. Cancelling it ends the work."""
        settings = self._settings
        if query.end_ns - query.start_ns > settings.range_secs_max * 1e9:
            raise InvalidQuery(
                "end_unix_ns", f"the range is longer than query.range_secs_max = {settings.range_secs_max:.10g} seconds"
            )
        if len(self._running) >= settings.at_a_time:
            raise QueryBusy(
                f"{settings.at_a_time} questions are being answered, which is query.at_a_time; ask again later"
            )
        work = _Work(query)
        self._running.add(work)
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self._pool, self._answer, work)
        # Its slot is free when the thread is, not when the asker has gone.
        done.add_done_callback(lambda _done: self._running.discard(work))
        try:
            async with asyncio.timeout(settings.timeout_secs):
                return await asyncio.shield(done)
        except TimeoutError as error:
            raise QueryTimedOut(
                f"the answer took longer than query.timeout_secs = {settings.timeout_secs:g}; expected a shorter range "
                "or a narrower selection"
            ) from error
        finally:
            if not done.done():
                done.add_done_callback(_look_away)
                self._end(work, loop)

    async def stop(self) -> None:
        """Ends what is under way and frees everything. Idempotent."""
        loop = asyncio.get_running_loop()
        deadline = time.monotonic() + STOP_SECS_MAX
        for work in tuple(self._running):
            self._end(work, loop)
        while self._running and time.monotonic() < deadline:  # noqa: ASYNC110  # bounded, and no event tells of all
            await asyncio.sleep(INTERRUPT_EVERY_SECS)
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._database is not None and not self._running:
            self._database.close()
            self._database = None

    def _end(self, work: _Work, loop: asyncio.AbstractEventLoop) -> None:
        work.ended = True
        if work in self._running:
            work.interrupt()
            loop.call_later(INTERRUPT_EVERY_SECS, self._end, work, loop)

    def _answer(self, work: _Work) -> Answer:
        """On a thread."""
        settings, query = self._settings, work.query
        query.selection.check_expressions()
        before: list[str] = []
        while True:
            start, end = query.start_ns, query.end_ns
            files = files_of(settings.root, start, end, settings.late_secs, settings.ahead_secs)
            if not files:
                return []
            try:
                return _series(query, self._rows(work, files), settings)
            except DatasetUnreadable:
                # A file that is gone was joined with others since it was listed. While the hours of an outage are
                # joined that happens often, but never twice to a file; the question's time bounds it all.
                if files == before or all(Path(file).exists() for file in files):
                    raise
            before = files

    def _rows(self, work: _Work, files: list[str]) -> Iterable[tuple[Any, ...]]:
        import duckdb

        try:
            with self._cursor() as cursor, work.interruptible(cursor):
                ((_, time_type, *_),) = cursor.execute(TIME_TYPE, {"files": names(files)}).fetchall()
                asked = statement(work.query, files, self._settings.points_max + 1, time_type)
                cursor.execute(asked.text, asked.parameters)
                rows: list[tuple[Any, ...]] = []
                while some := cursor.fetchmany(ROWS_AT_A_TIME):
                    work.check()
                    rows += some
                return rows
        except duckdb.InterruptException as error:
            raise QueryTimedOut(ENDED) from error
        except duckdb.OutOfMemoryException as error:
            bound = self._settings.memory_bytes_max
            raise QueryTooLarge(
                f"the work needs more memory than query.memory_bytes_max = {bound}; expected a shorter range or a "
                "narrower selection"
            ) from error
        except duckdb.Error as error:
            if isinstance(error, duckdb.FatalException):
                self._database = None  # it takes no more questions; the next one opens another
            raise DatasetUnreadable(f"the dataset cannot be read: {str(error).splitlines()[0]}") from error

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        with self._opening:
            if self._database is None:
                self._database = _open(self._settings)
            return self._database.cursor()


class _Work:
    """One question under way."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self.ended = False
        """Nobody waits for it any more."""
        self._cursor: duckdb.DuckDBPyConnection | None = None
        self._changing = threading.Lock()

    def interrupt(self) -> None:
        """From the event loop's thread."""
        with self._changing:
            if self._cursor is not None:
                self._cursor.interrupt()

    @contextmanager
    def interruptible(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """While it lasts, `interrupt` ends what the cursor does."""
        with self._changing:
            self._cursor = cursor
        try:
            self.check()
            yield
        finally:
            with self._changing:
                self._cursor = None

    def check(self) -> None:
        """On its own thread: no further when it was ended."""
        if self.ended:
            raise QueryTimedOut(ENDED)


def _open(settings: EngineSettings) -> duckdb.DuckDBPyConnection:
    """A database in memory that reads the dataset and can do nothing else, were it ever made to try."""
    import duckdb

    database = duckdb.connect(
        ":memory:",
        config={
            "threads": settings.threads,
            "memory_limit": f"{settings.memory_bytes_max // MIB}MiB",
            "temp_directory": "",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )
    # The one text from outside, the operator's: SET takes no parameters. As it is, and as it stands in names of files.
    root = str(settings.root)
    roots = ", ".join("'" + path.replace("'", "''") + "'" for path in (root, *names([root])))
    for setting in (
        "TimeZone = 'UTC'",
        f"allowed_directories = [{roots}]",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        database.execute(f"SET {setting}")
    return database


def _series(query: Query, rows: Iterable[tuple[Any, ...]], settings: EngineSettings) -> Answer:
    answer: Answer = []
    last: tuple[Any, ...] | None = None
    width = 1 + len(query.group_by)
    for points, row in enumerate(rows, 1):
        group, window, result = row[:width], row[width], row[width + 1 :]
        if group != last:
            tags = tuple((key, value) for key, value in zip(query.group_by, group[1:], strict=True) if value)
            answer.append(Series(group[0], tags))
            last = group
        if points > settings.points_max or len(answer) > settings.series_max:
            raise AnswerTooLarge(
                f"the answer has more than query.points_max = {settings.points_max} points or query.series_max = "
                f"{settings.series_max} series; expected a longer step, fewer tags in group_by or a narrower selection"
            )
        values = _values(query, result)
        if values is not None:
            answer[-1].values.append(Value(query.start_ns + window * query.window_ns, values))
    return [series for series in answer if series.values]


def _values(query: Query, result: tuple[Any, ...]) -> tuple[float, ...] | None:
    if query.aggregation is Aggregation.HISTOGRAM_QUANTILE:
        found = [quantile(wanted, *result) for wanted in query.quantiles]
        return None if None in found else tuple(value for value in found if value is not None)
    (value,) = result
    return tuple(value) if query.aggregation is Aggregation.QUANTILE else (value,)


def _look_away(done: asyncio.Future[Answer]) -> None:
    """Nobody asks any more what became of it, and that is no defect to be told."""
    if not done.cancelled():
        done.exception()
