"""Reading one source in a thread of its own, so that one that hangs, on a dead network file system say, hangs alone."""

import asyncio
import contextlib
import queue
import threading
import time
from dataclasses import dataclass

from telemetry_collector.agent.sources import Source
from telemetry_collector.sender import Point


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source gave."""

    points: list[Point]
    secs: float
    """How long it took."""


class SourceThread:
    """A daemon thread that waits to be asked: it dies with the process, even in a call that never ends."""

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self._source = source
        self._asked: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Future[Reading]] | None] = (
            queue.SimpleQueue()
        )
        self._answer: asyncio.Future[Reading] | None = None
        self._busy = False
        threading.Thread(target=self._run, name=f"source-{source.name}", daemon=True).start()

    @property
    def busy(self) -> bool:
        """An earlier reading has not ended."""
        return self._busy

    def read(self) -> "asyncio.Future[Reading]":
        """Begins a reading; the future has what the source gave or raised. Not while `busy`."""
        assert not self._busy, "one reading at a time"
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reading] = loop.create_future()
        self._busy = True
        self._asked.put((loop, future))
        return future

    def stop(self) -> None:
        """Ends the thread, after the reading it may be in."""
        self._asked.put(None)

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            loop, future = asked
            started = time.perf_counter()
            outcome: Reading | Exception
            try:
                points = list(self._source.read())
                outcome = Reading(points, time.perf_counter() - started)
            except Exception as error:  # noqa: BLE001  # the sampler counts and logs it, whatever it is
                outcome = error
            with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                loop.call_soon_threadsafe(self._deliver, future, outcome)

    def _deliver(self, future: "asyncio.Future[Reading]", outcome: Reading | Exception) -> None:
        self._busy = False
        if future.done():
            return  # given up
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
