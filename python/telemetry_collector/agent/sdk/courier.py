"""A thread of its own with a sender on it: the service's threads hand it work and need not know of event loops.

A sender that cannot be made, or that breaks, is made anew after a pause: a process that has used up its files, say, has
some again later.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from telemetry_collector.agent.sdk.loading import whole
from telemetry_collector.agent.sdk.routes import Route
from telemetry_collector.agent.sdk.troubles import Troubles

if TYPE_CHECKING:
    from telemetry_collector.sender import Sender, SenderStats
    from telemetry_collector.sender.events import SenderEvent

P = ParamSpec("P")
T = TypeVar("T")

ATTENDED_SECS = 0.1
"""How much longer than asked a caller waits, so that what was found out in time gets through."""


AGAIN_SECS = 5.0
"""The pause before a sender is made anew, as long as the longest between two attempts to reach an agent."""


class Courier:
    """Has a sender to `route`, from `start` to `stop`. Every method from any thread."""

    def __init__(
        self,
        route: Route,
        *,
        points_max: int,
        troubles: Troubles,
        turn_secs: float | None = None,
        on_turn: Callable[[Sender], None] = lambda _: None,
        on_answer: Callable[[], None] = lambda: None,
        again_secs: float = AGAIN_SECS,
    ) -> None:
        """`on_turn` is called on the thread every `turn_secs`, when `wake` was called, and once more at the end;
        `on_answer` when a batch got its final answer.
        """
        self._route = route
        self._points_max = points_max
        self._troubles = troubles
        self._turn_secs = turn_secs
        self._on_turn = on_turn
        self._on_answer = on_answer
        self._again_secs = again_secs
        self.failures = 0
        """How often a sender could not be made, or broke."""
        self._over = threading.Event()
        self._no_pause = threading.Event()
        self._up = threading.Event()
        # These belong to one sender; the next one has its own.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = asyncio.Event()
        self._ready_at_once = False
        self._ending = asyncio.Event()
        self._sender: Sender | None = None
        self._tasks: set[asyncio.Task[bool]] = set()
        self._thread = threading.Thread(target=self._run, name="metrics-courier", daemon=True)

    def start(self) -> None:
        """Begins to connect. RuntimeError where the system has no thread for it."""
        self._thread.start()

    @property
    def stats(self) -> SenderStats | None:
        """The counters of the sender that there is, or was last; None before one is made."""
        return None if self._sender is None else self._sender.stats

    @property
    def running(self) -> bool:
        """It has not had its last turn yet."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """Has its turn now. Safe in a signal handler, for it takes no lock."""
        self._ready_at_once = True
        self._tell(lambda: self._ready.set())

    def attend(self, work: Callable[[Sender], Coroutine[Any, Any, bool]], timeout_secs: float) -> bool:
        """Does something with the sender, on the thread, and waits so long; False also when it took longer."""
        if not self.running or threading.current_thread() is self._thread:
            return False
        until = time.monotonic() + timeout_secs
        if not self._up.is_set():
            self._no_pause.set()
            if not self._up.wait(timeout_secs):
                return False
        done: Future[bool] = Future()

        def begin() -> None:
            task = asyncio.ensure_future(self._within(work, until - time.monotonic()))
            task.add_done_callback(lambda task: done.set_result(not task.cancelled() and task.result()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        try:
            return self._tell(begin) and done.result(max(0.0, until - time.monotonic()) + ATTENDED_SECS)
        except FutureTimeoutError:  # there is no end to it
            return False

    def stop(self) -> None:
        """Has its last turn, disconnects, and ends; what is left counts as dropped. Idempotent."""
        self._over.set()
        self._no_pause.set()
        self._tell(lambda: self._ending.set())
        if threading.current_thread() is not self._thread and self.running:
            self._thread.join(ATTENDED_SECS)

    def _tell(self, what: Callable[[], None]) -> bool:
        """Has something done on the thread; False where no sender is."""
        loop = self._loop
        with contextlib.suppress(RuntimeError):  # it has just ended
            if loop is not None:
                loop.call_soon_threadsafe(what)
                return True
        return False

    # ---- on the thread

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._have_sender()
            except Exception as error:  # noqa: BLE001  # a thread of ours must not print into the service's output
                self.failures += 1
                text = f"nothing is sent for {self._again_secs:g} s, then it is tried again"
                self._troubles.mention("courier", f"{text}: {type(error).__name__}: {error}")
                self._no_pause.wait(self._again_secs)
                self._no_pause.clear()

    def _have_sender(self) -> None:
        """From a sender's making to its end. Raises what ended it, but for `stop`."""
        with whole():
            sender = self._route.new_sender(points_max=self._points_max, on_event=self._happened)
        loop = _Loop()  # whatever the service runs on
        try:
            # Whatever blocks, the resolver above all, blocks this thread alone; it needs no other, which at the
            # interpreter's end could not be begun any more.
            loop.set_default_executor(_Here())
            asyncio.set_event_loop(loop)
            loop.run_until_complete(self._serve(sender))
        finally:
            self._up.clear()
            self._loop = None
            with contextlib.suppress(Exception):
                _cancel_all(loop)
            loop.close()

    async def _serve(self, sender: Sender) -> None:
        await sender.start()
        self._sender = sender
        self._ready, self._ending = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        # From now on others reach it; what they wanted before is seen to here.
        if self._ready_at_once:
            self._ready.set()
        if self._over.is_set():
            self._ending.set()
        self._up.set()
        breaking = asyncio.create_task(sender.wait())
        ending = asyncio.create_task(self._ending.wait())
        try:
            while not (ending.done() or breaking.done()):
                ready = asyncio.create_task(self._ready.wait())
                waits = {ready, ending, breaking}
                await asyncio.wait(waits, timeout=self._turn_secs, return_when=asyncio.FIRST_COMPLETED)
                ready.cancel()
                self._ready.clear()
                self._ready_at_once = False
                self._on_turn(sender)
            if breaking.done():
                breaking.result()
        finally:
            breaking.cancel()
            await sender.stop(0.0)

    async def _within(self, work: Callable[[Sender], Coroutine[Any, Any, bool]], timeout_secs: float) -> bool:
        try:
            async with asyncio.timeout(timeout_secs):
                assert self._sender is not None, "the loop runs for its sake"
                return await work(self._sender)
        except TimeoutError:
            return False
        except Exception as error:  # noqa: BLE001  # who waits is told that it did not work, and the log why
            self._troubles.mention("work", f"{type(error).__name__}: {error}")
            return False

    def _happened(self, event: SenderEvent) -> None:
        from telemetry_collector.sender import events

        match event:
            case events.Answered():
                self._on_answer()
            case events.ConnectFailed() | events.Disconnected():
                self._troubles.mention("route", f"{self._route}: {event.reason}; what is recorded waits")
            case events.Refused():
                self._troubles.count(f"refused_{event.reason}", event.points, f"points were refused: {event.example}")
            case events.Dropped():
                text = f"points were given up before {self._route} had them"
                self._troubles.count(event.reason, event.points, text)
            case _:
                pass


def lost(stats: SenderStats) -> int:
    """Points of a sender that came to nothing."""
    return stats.points_refused + stats.points_dropped


class _Loop(asyncio.SelectorEventLoop):
    def __del__(self) -> None:
        """Says nothing: one that there were no files for is half made, and asyncio would print that on stderr."""


class _Here(ThreadPoolExecutor):
    """Does at once, on the thread that asks, what it is given."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # who waits for the future is told
            future.set_exception(error)
        return future


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
