"""An event loop whose time passes while nothing is left to do, so that an hour takes as long as what happens in it."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from telemetry_collector.clock import ManualClock

T = TypeVar("T")

TURN_SECS = 1e-6
"""A turn of the loop takes so long: time never stands still, as it never does."""


class _Jumping(selectors.DefaultSelector):
    """Waits for nobody: the time it would have waited has passed."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everything waits for something that never happens"
        self.passed += max(timeout, TURN_SECS)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Work for threads is done at once, in the loop: nothing else takes time."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.passed

    def run_in_executor(self, _executor: object, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # the names of the base differ by version
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  # whatever it is, whoever waits is told
            done.set_exception(error)
        return done


class LoopClock(ManualClock):
    """The loop's time as a clock."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def unix_secs(self) -> float:
        return super().unix_secs() + self.monotonic()

    def unix_ns(self) -> int:
        return int(self.unix_secs() * 1e9)

    async def sleep(self, secs: float) -> None:
        await asyncio.sleep(secs)


def in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end; AssertionError when it waits for what never happens."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
