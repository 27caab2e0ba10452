"""Whose an exception is that comes up inside a call: its arguments', or of a signal handler that came between.

Time limits are told that way (Celery's soft ones, `signal.alarm`). Such an exception is the service's own, was only by
chance here when it came, and has to reach it.
"""

import signal
from collections.abc import Iterator
from types import CodeType


def is_an_interrupt(error: BaseException) -> bool:
    """Whether a signal handler has raised it."""
    handlers = set(_handlers())
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in handlers:
            return True
        trace = trace.tb_next
    return False


def _handlers() -> Iterator[CodeType]:
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        code = getattr(getattr(handler, "__func__", handler), "__code__", None)
        if isinstance(code, CodeType):
            yield code
