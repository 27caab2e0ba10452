"""Waiting for what nobody tells of, without guessing how long it takes."""

import asyncio
from collections.abc import Callable

PATIENCE_SECS = 10.0
"""A test fails when what it waits for has not happened by then."""


async def until(condition: Callable[[], object], secs: float = PATIENCE_SECS) -> None:
    """Returns as soon as the condition is true; TimeoutError when it does not within the time."""
    async with asyncio.timeout(secs):
        while not condition():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.002)
