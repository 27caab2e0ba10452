"""An event loop in a thread of its own, for what must not hold up the agent's: checks, probes and their answers."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from telemetry_collector.observe.logs import logger

log = logger(__name__)

STOP_SECS_MAX = 2.0
"""How long stopping waits for a thread, whose work ends its commands and connections first. It dies with the process
in any case."""


class Background:
    """A coroutine on a loop of its own, from now until it ends or is stopped. Made on the agent's loop."""

    def __init__(self, name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """`main` is called in the thread, and its coroutine cancelled by `stop`. What it raises is logged."""
        self._name = name
        self._main = main
        self._owner = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._lock = threading.Lock()
        self._stopping = False
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None
        threading.Thread(target=self._run, name=name, daemon=True).start()

    async def stop(self) -> None:
        """Returns when the thread has ended, or its time is over. Idempotent."""
        with self._lock:
            self._stopping = True
            if self._running is not None:
                loop, task = self._running
                with contextlib.suppress(RuntimeError):  # it has just ended by itself
                    loop.call_soon_threadsafe(task.cancel)
        try:
            async with asyncio.timeout(STOP_SECS_MAX):
                await self._ended.wait()
        except TimeoutError:
            log.warning("background_left", thread=self._name, secs=STOP_SECS_MAX)

    def _run(self) -> None:
        # Not uvloop, should the process use it: it asks names on threads that the sender needs, too.
        runner = asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)
        try:
            with runner, contextlib.suppress(asyncio.CancelledError):
                runner.run(self._begin())
        except Exception:
            log.exception("background_failed", thread=self._name)
        finally:
            with contextlib.suppress(RuntimeError):  # the agent's loop has been closed: nobody waits any more
                self._owner.call_soon_threadsafe(self._ended.set)

    async def _begin(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "a runner runs tasks"
        with self._lock:
            if self._stopping:
                return  # stopped before there was a task to cancel
            self._running = (asyncio.get_running_loop(), task)
        await self._main()
