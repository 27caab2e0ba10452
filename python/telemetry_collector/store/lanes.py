"""Parts that are encoded beside each other, and published one after the other.

    rows, in the journal's order ─► part k + 2, open      its lane encodes        ┐
                                    part k + 1, at its end    finishes and syncs  ├─► published: k, k + 1, k + 2
                                    part k                    has finished        ┘

A part holds a range of the journal, so one part takes rows and those before it are at their end. Each has a *lane*, a
thread of its own: while it encodes, the rows of the next call are made, which takes about as long, and no part waits
until another has been synchronized. Recovery takes the greatest end that was published for the end of all that was, so
a part is published when every part before it is, whichever was finished first.

Where the process may use one processor there is one lane and no thread: everything happens in the caller's.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar, final

from telemetry_collector.component import ArrowRecordBatch
from telemetry_collector.store.encoding import ROW_GROUP_ROWS
from telemetry_collector.store.format import OpenPart

T = TypeVar("T")

LANES_MAX: Final = 4
"""One makes up for the time that encoding takes; others are for parts that wait for the disk."""

BATCHES_MAX: Final = 2
"""Record batches that a lane holds, the one that it encodes included. When it has so many, the next one waits."""


def usable_lanes() -> int:
    """As many as the process may use processors, within the bound."""
    return min(len(os.sched_getaffinity(0)), LANES_MAX)


@final
class Lane:
    """One part in the making and the thread that encodes it. Everything is called from the thread that has the rows."""

    def __init__(self, file: OpenPart, hour: int, start: int, thread: ThreadPoolExecutor | None) -> None:
        """`start` is where the part's range of the journal begins. Without a thread the caller's does the work."""
        self.hour = hour
        self.start = start
        self.end = start
        #: Rows taken, encoded or not.
        self.rows = 0
        #: Bytes in the file, as of the last rows that were encoded; all of them once it is finished.
        self.file_bytes = 0
        self._file = file
        self._thread = thread
        self._under_way: deque[Future[None]] = deque()
        self._finished: Future[int] | None = None

    @property
    def path(self) -> Path:
        """Where the part is staged."""
        return self._file.path

    @property
    def is_finished(self) -> bool:
        """Whether `finish` need not wait."""
        return self._finished is not None and self._finished.done()

    def is_behind(self) -> bool:
        """Whether rows would have to wait now. Raises what went wrong with those taken before."""
        while self._under_way and self._under_way[0].done():
            self._under_way.popleft().result()
        return len(self._under_way) >= BATCHES_MAX

    def add(self, rows: ArrowRecordBatch) -> None:
        """Takes rows, when there is room for them. Raises what went wrong with those taken before."""
        if self.is_behind():
            self._under_way.popleft().result()
        self._under_way.append(self._begin(lambda: self._encode(rows)))
        self.rows += rows.num_rows

    def close(self, end: int) -> None:
        """No more rows come, and the range ends here: begins to finish the file and to put it on stable storage."""
        self.end = end
        self._finished = self._begin(self._file.finish)

    def finish(self) -> None:
        """Waits until the closed part is on stable storage; raises what went wrong. Its thread has ended then."""
        while self._under_way:
            self._under_way.popleft().result()
        if self._finished is None:
            raise ValueError("a part is closed before it is finished")
        self.file_bytes = self._finished.result()
        if self._thread is not None:
            self._thread.shutdown()

    def discard(self) -> None:
        """Ends the thread after what it is at, and removes the file."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
        self._file.discard()

    def _begin(self, work: Callable[[], T]) -> Future[T]:
        if self._thread is not None:
            return self._thread.submit(work)
        done: Future[T] = Future()
        done.set_result(work())
        return done

    def _encode(self, rows: ArrowRecordBatch) -> None:
        self._file.add(rows)
        self.file_bytes = self._file.file_bytes


@final
class Lanes:
    """All parts in the making, in the journal's order. Everything is called from one thread.

    After an exception of `take` or `flush` only `discard` makes sense. What was published until then has no gap.
    """

    def __init__(
        self,
        create: Callable[[ArrowRecordBatch], OpenPart],
        publish: Callable[[Lane], None],
        *,
        count: int,
        file_bytes_max: int,
        name: str,
    ) -> None:
        """`create` stages a file for such rows, `publish` makes a finished one visible; a part ends at about
        `file_bytes_max`.

        `count` parts at most are in the making, in threads of this name.
        """
        self._create = create
        self._publish = publish
        self._count = count
        self._file_bytes_max = file_bytes_max
        self._name = name
        # Those that are not published; the last may be open.
        self._lanes: deque[Lane] = deque()
        self._open: Lane | None = None
        self._start = 0
        #: Where in the journal the rows that were taken end.
        self.position = 0

    def begin(self, position: int) -> None:
        """The next rows are from here on, and so is the next part's range."""
        self._start = self.position = position

    def take(self, rows: ArrowRecordBatch, hour: int, end: int) -> None:
        """Takes rows that were received in this hour, and with which the journal's range goes up to `end`.

        Publishes what has been finished meanwhile. Waits for the open part's lane when it has enough to do, and for
        the first part when a new one finds no lane.
        """
        if self._open is not None and (self._open.hour != hour or self._is_better_ended(self._open, rows.num_rows)):
            self._close()
        if rows.num_rows:
            self._opened(rows, hour).add(rows)
        self.position = end
        if self._open is not None and self._open.file_bytes >= self._file_bytes_max:
            self._close()
        while self._lanes and self._lanes[0].is_finished:
            self._publish_first()

    def flush(self) -> int:
        """Publishes everything that was taken; where in the journal that ends."""
        self._close()
        while self._lanes:
            self._publish_first()
        return self.position

    def discard(self) -> None:
        """Gives up everything that is not published. No thread and no file is left, nor anything else to do."""
        self._open = None
        with contextlib.ExitStack() as each:
            while self._lanes:
                each.callback(self._lanes.popleft().discard)

    def _is_better_ended(self, part: Lane, rows: int) -> bool:
        """Whether a free lane had better take these rows: the part's has enough to do, and they begin a row group.

        Otherwise files would be smaller than a row group; and one that keeps up needs no help.
        """
        if len(self._lanes) == self._count or _row_groups(part.rows) == _row_groups(part.rows + rows):
            return False
        return part.is_behind()

    def _opened(self, rows: ArrowRecordBatch, hour: int) -> Lane:
        if self._open is None:
            while len(self._lanes) >= self._count:
                self._publish_first()
            thread = ThreadPoolExecutor(1, thread_name_prefix=self._name) if self._count > 1 else None
            self._open = Lane(self._create(rows), hour, self._start, thread)
            self._lanes.append(self._open)
        return self._open

    def _close(self) -> None:
        if self._open is not None:
            self._open.close(self.position)
            self._open = None
            self._start = self.position

    def _publish_first(self) -> None:
        first = self._lanes[0]
        first.finish()
        self._publish(first)
        self._lanes.popleft()


def _row_groups(rows: int) -> int:
    return math.ceil(rows / ROW_GROUP_ROWS)
