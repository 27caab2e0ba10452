"""How long something takes: a block, a function, a coroutine or a generator."""

import functools
import inspect
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import ContextVar
from types import TracebackType
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

_OPEN: ContextVar[tuple[tuple["Timer", float], ...]] = ContextVar(
    "blocks that are open and when they began", default=()
)
"""One for all timers: a variable for each would never leave the contexts that it was set in."""


class Timer:
    """Runs from its making; as a context manager, from the block's beginning; as a decorator, for each call anew.

    One may be shared: threads and tasks are timed each by itself. A block or call that raises is timed like any other.
    Of an asynchronous function the time of its coroutine counts, of a generator that from its first step to its end,
    waiting included.
    """

    def __init__(self, record: Callable[[float], None]) -> None:
        self._record = record
        self._made = time.perf_counter()

    def stop(self) -> float:
        """Records the time since the start; the seconds. Each further call records again, since the same start."""
        began = next((began for timer, began in reversed(_OPEN.get()) if timer is self), self._made)
        return self._since(began)

    def __enter__(self) -> "Timer":
        _OPEN.set((*_OPEN.get(), (self, time.perf_counter())))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        still = list(_OPEN.get())
        for place in reversed(range(len(still))):
            if still[place][0] is self:
                del still[place]
                break
        _OPEN.set(tuple(still))

    def __call__(self, timed: F) -> F:
        if isinstance(timed, classmethod | staticmethod):
            return cast(F, type(timed)(self(timed.__func__)))
        return cast(F, functools.wraps(timed)(self._around(timed)))

    def _around(self, timed: Callable[..., Any]) -> Callable[..., Any]:
        """The same kind of function, since frameworks ask of which kind one is."""
        if inspect.iscoroutinefunction(timed):

            async def waiting(*args: Any, **kwargs: Any) -> Any:
                began = time.perf_counter()
                try:
                    return await timed(*args, **kwargs)
                finally:
                    self._since(began)

            return waiting
        if inspect.isasyncgenfunction(timed):

            async def streaming(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
                began = time.perf_counter()
                inner = timed(*args, **kwargs)
                try:
                    step = await anext(inner)
                    while True:
                        try:
                            sent = yield step
                        except GeneratorExit:
                            raise
                        except BaseException as error:  # noqa: BLE001  # it is for the generator
                            step = await inner.athrow(error)
                        else:
                            step = await inner.asend(sent)
                except StopAsyncIteration:
                    return
                finally:
                    try:
                        await inner.aclose()
                    finally:
                        self._since(began)

            return streaming
        if inspect.isgeneratorfunction(timed):

            def stepping(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
                began = time.perf_counter()
                try:
                    return (yield from timed(*args, **kwargs))
                finally:
                    self._since(began)

            return stepping

        def calling(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return timed(*args, **kwargs)
            finally:
                self._since(began)

        return calling

    def _since(self, began: float) -> float:
        secs = time.perf_counter() - began
        self._record(secs)
        return secs
