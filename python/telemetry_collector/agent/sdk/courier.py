"""A thread of its own with a sender on it: the service's threads hand it work and need not know of event loops."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from telemetry_collector.agent.sdk.routes import Route
from telemetry_collector.agent.sdk.troubles import Troubles

if TYPE_CHECKING:
    from telemetry_collector.sender import Sender, SenderStats
    from telemetry_collector.sender.events import SenderEvent

P = ParamSpec("P")
T = TypeVar("T")

ATTENDED_SECS = 0.1
"""How much longer than asked a caller waits, so that what was found out in time gets through."""


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
    ) -> None:
        """`on_turn` is called on the thread every `turn_secs`, when `wake` was called, and once more at the end."""
        self._route = route
        self._points_max = points_max
        self._troubles = troubles
        self._turn_secs = turn_secs
        self._on_turn = on_turn
        self._loop = asyncio.SelectorEventLoop()  # whatever the service runs on
        # Whatever blocks, the resolver above all, blocks this thread alone; it needs no other, which at the
        # interpreter's end could not be begun any more.
        self._loop.set_default_executor(_Here())
        self._ready = asyncio.Event()
        self._ending = asyncio.Event()
        self._made = asyncio.Event()
        self._sender: Sender | None = None
        self._tasks: set[asyncio.Task[bool]] = set()
        self._thread = threading.Thread(target=self._run, name="metrics-courier", daemon=True)

    def start(self) -> None:
        """Begins to connect. RuntimeError where the system has no thread for it."""
        try:
            self._thread.start()
        except RuntimeError:
            self._loop.close()
            raise

    @property
    def stats(self) -> SenderStats | None:
        """The sender's counters; None before it is made."""
        return None if self._sender is None else self._sender.stats

    def wake(self) -> None:
        """Has its turn now."""
        with contextlib.suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._ready.set)

    def attend(self, work: Callable[[Sender], Coroutine[Any, Any, bool]], timeout_secs: float) -> bool:
        """Does something with the sender, on the thread, and waits so long; False also when it took longer."""
        if not self._thread.is_alive() or threading.current_thread() is self._thread:
            return False
        done: Future[bool] = Future()

        def begin() -> None:
            task = self._loop.create_task(self._within(work, timeout_secs))
            task.add_done_callback(lambda task: done.set_result(not task.cancelled() and task.result()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        try:
            self._loop.call_soon_threadsafe(begin)
            return done.result(timeout_secs + ATTENDED_SECS)
        except (RuntimeError, FutureTimeoutError):  # it has just ended, or there is no end to it
            return False

    def stop(self) -> None:
        """Has its last turn, disconnects, and ends; what is left counts as dropped. Idempotent."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._ending.set)
        if threading.current_thread() is not self._thread:
            self._thread.join(ATTENDED_SECS)

    # ---- on the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except Exception as error:  # noqa: BLE001  # a thread of ours must not print into the service's output
            self._troubles.mention("courier", f"nothing is sent any more: {type(error).__name__}: {error}")
        finally:
            with contextlib.suppress(Exception):
                _cancel_all(self._loop)
            self._loop.close()

    async def _serve(self) -> None:
        sender = self._route.new_sender(points_max=self._points_max, on_event=self._happened)
        await sender.start()
        self._sender = sender
        self._made.set()
        breaking = asyncio.create_task(sender.wait())
        ending = asyncio.create_task(self._ending.wait())
        try:
            while not (ending.done() or breaking.done()):
                ready = asyncio.create_task(self._ready.wait())
                waits = {ready, ending, breaking}
                await asyncio.wait(waits, timeout=self._turn_secs, return_when=asyncio.FIRST_COMPLETED)
                ready.cancel()
                self._ready.clear()
                self._on_turn(sender)
            if breaking.done():
                breaking.result()
        finally:
            breaking.cancel()
            await sender.stop(0.0)

    async def _within(self, work: Callable[[Sender], Coroutine[Any, Any, bool]], timeout_secs: float) -> bool:
        try:
            async with asyncio.timeout(timeout_secs):
                await self._made.wait()
                assert self._sender is not None, "it was just said to be made"
                return await work(self._sender)
        except TimeoutError:
            return False
        except Exception as error:  # noqa: BLE001  # who waits is told that it did not work, and the log why
            self._troubles.mention("work", f"{type(error).__name__}: {error}")
            return False

    def _happened(self, event: SenderEvent) -> None:
        from telemetry_collector.sender import events

        match event:
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
