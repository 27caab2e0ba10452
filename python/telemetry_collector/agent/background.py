"""An event loop in a thread of its own, for what must not hold up the agent's: checks, probes and their answers."""

import asyncio
import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from telemetry_collector.observe.logs import logger

log = logger(__name__)

STOP_SECS_MAX = 2.0
"""How long stopping waits for a thread, whose work ends its commands and connections first. It dies with the process
in any case."""

Main = Callable[[], Coroutine[Any, Any, None]]
"""Makes the coroutine that is run; called in the thread."""
C = TypeVar("C")


class Background:
    """A coroutine on a loop of its own, from now until it ends or is stopped. Made on the agent's loop."""

    def __init__(self, name: str, main: Main) -> None:
        """The coroutine of `main` is cancelled by `stop`. What it raises is logged."""
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


class ConfiguredBackground(ABC, Generic[C]):
    """Runs by one configuration at a time, from `start` until it is stopped. Used from the agent's loop."""

    def __init__(self, name: str, config: C) -> None:
        """`config` is one by which nothing runs."""
        self._thread_name = name
        self._config = config
        self._running: Background | None = None

    @abstractmethod
    def _main(self, config: C) -> Main | None:
        """Makes ready for a configuration: what then runs in the thread; None when there is nothing to run."""

    def start(self, config: C) -> None:
        """Begins, unless it runs by this configuration already; by another one it does not when this is called."""
        if self._running is not None:
            assert config == self._config, "another configuration is stopped first"
            return
        self._config = config
        main = self._main(config)
        if main is not None:
            self._running = Background(self._thread_name, main)

    async def stop_unless(self, config: C) -> None:
        """Stops what another configuration began, so that what stays the same goes on undisturbed."""
        if config != self._config:
            await self.stop()

    async def stop(self) -> None:
        """Ends what runs, its commands and connections too. Idempotent."""
        running, self._running = self._running, None
        if running is not None:
            await running.stop()
