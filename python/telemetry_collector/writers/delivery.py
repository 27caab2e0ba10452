"""What writers that post have in common: attempts until there is an answer, an end to them, and compression."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, Final, Literal, final
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from telemetry_collector.component import WriterContext
from telemetry_collector.errors import RetryableError
from telemetry_collector.writers.answer import Answer, Verdict

# Level 1 costs a tenth of the default's time and gives a seventh of the bytes; the default gives a tenth.
_GZIP_LEVEL: Final = 1


def _switch(value: object) -> object:
    """YAML reads a bare `on` or `off` as a truth value."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


Gzip = Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)]
"""Whether requests are compressed; auto: those that leave the machine."""


def compresses(choice: Gzip, url: str) -> bool:
    """What the choice means for this destination."""
    return choice == "on" or (choice == "auto" and not _is_loopback(url))


@final
class Delivery:
    """One writer's requests, one at a time."""

    def __init__(self, context: WriterContext, *, compress: bool) -> None:
        self._events = context.events
        self._breaker = context.breaker
        self._compress = compress
        self._task: asyncio.Future[None] | None = None

    @property
    def under_way(self) -> bool:
        """Something is being delivered."""
        return self._task is not None

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Does the work, which `stop` ends with a RetryableError."""
        task = self._task = asyncio.ensure_future(work)
        try:
            await task
        except asyncio.CancelledError:
            if self._task is not task:  # not our caller but `stop` has cancelled it
                raise RetryableError("stopped while the destination had not accepted everything") from None
            raise
        finally:
            if self._task is task:
                self._task = None

    def stop(self) -> None:
        """Gives up what is under way. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def answer(self, body: bytes, post: Callable[[bytes], Awaitable[Answer]]) -> Answer:
        """Posts a body until the destination has accepted or refused it."""
        sent = await asyncio.to_thread(gzip.compress, body, _GZIP_LEVEL) if self._compress else body
        while True:
            await self._breaker.wait()
            answer = await post(sent)
            if answer.verdict is Verdict.ACCEPTED:
                self._events.accepted(len(sent))
            if answer.verdict not in (Verdict.RETRY, Verdict.MEND):
                self._breaker.succeeded()
                return answer
            pause = self._breaker.failed(answer.retry_after_secs)
            self._events.failed(answer.reason, answer.words, pause, operator=answer.verdict is Verdict.MEND)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
