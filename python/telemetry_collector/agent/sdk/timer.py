"""How long something takes: a block, a function or a coroutine."""

import functools
import inspect
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


class Timer:
    """Runs from its making; as a context manager, from the block's beginning; as a decorator, for each call anew.

    A block or call that raises is timed like any other. Of an asynchronous function the time of its coroutine counts,
    waiting included.
    """

    def __init__(self, record: Callable[[float], None]) -> None:
        self._record = record
        self._started = [time.perf_counter()]

    def stop(self) -> float:
        """Records the time since the start; the seconds. Each further call records again, since the same start."""
        secs = time.perf_counter() - self._started[-1]
        self._record(secs)
        return secs

    def __enter__(self) -> "Timer":
        self._started.append(time.perf_counter())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        del self._started[-1]

    def __call__(self, timed: F) -> F:
        if inspect.iscoroutinefunction(timed):

            @functools.wraps(timed)
            async def waiting(*args: Any, **kwargs: Any) -> Any:
                started = time.perf_counter()
                try:
                    return await timed(*args, **kwargs)
                finally:
                    self._record(time.perf_counter() - started)

            return cast(F, waiting)

        @functools.wraps(timed)
        def calling(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return timed(*args, **kwargs)
            finally:
                self._record(time.perf_counter() - started)

        return cast(F, calling)
