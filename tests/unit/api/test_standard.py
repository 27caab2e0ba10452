"""As what a call to standard health or reflection is counted."""

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from telemetry_collector.api.grpc.standard import CALLS_MAX, StandardCalls

Code = grpc.StatusCode


class Events:
    def __init__(self) -> None:
        self.codes: list[str] = []

    def answered(self, _method: str, code: str, *_: object) -> None:
        self.codes.append(code)


def context(code: Any = None, *, cancelled: bool = False) -> Any:
    """A call's as gRPC has it: `code` is what was set, a number or one of its codes."""
    return SimpleNamespace(
        peer=lambda: "ipv4:10.0.0.1:4000", code=lambda: code, details=lambda: "", cancelled=lambda: cancelled
    )


@pytest.mark.parametrize(
    ("ended_by", "told", "counted"),
    [
        (None, context(), "OK"),
        (None, context(0), "OK"),
        (None, context(cancelled=True), "CANCELLED"),
        (asyncio.CancelledError(), context(), "CANCELLED"),
        (GeneratorExit(), context(0), "CANCELLED"),
        (RuntimeError("aborted"), context(Code.NOT_FOUND), "NOT_FOUND"),
        (RuntimeError("aborted"), context(5), "NOT_FOUND"),
        (RuntimeError("a defect"), context(), "UNKNOWN"),
    ],
)
def test_a_call_counts_as_what_became_of_it_and_gives_its_share_back(
    ended_by: BaseException | None, told: Any, counted: str
) -> None:
    events: Any = Events()
    calls = StandardCalls(events)
    for _ in range(CALLS_MAX):
        with contextlib.suppress(asyncio.CancelledError, GeneratorExit, RuntimeError), calls._call("x", told) as had:
            assert had
            if ended_by is not None:
                raise ended_by
    assert events.codes == [counted] * CALLS_MAX
