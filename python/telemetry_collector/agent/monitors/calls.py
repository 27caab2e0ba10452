"""Calls that block, such as asking the system's resolver, in threads that die with the process.

A call cannot be ended from outside. So each has a place until it ends by itself, and those who wait for a place wait
within their check's timeout: resolvers that hang cost a bounded number of threads, however long they do.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from telemetry_collector.agent.monitors.outcome import CheckFailed, Reason

T = TypeVar("T")


class Calls:
    """At most `at_once_max` threads. Belongs to one event loop."""

    def __init__(self, at_once_max: int, name: str) -> None:
        self._places = asyncio.Semaphore(at_once_max)
        self._name = name

    async def call(self, function: Callable[..., T], *args: object) -> T:
        """What the function returns or raises. Cancelling it forgets the answer; the place stays taken till then."""
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def ended(result: T | None, error: Exception | None) -> None:
            self._places.release()
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result)  # type: ignore[arg-type]  # without an error it is the function's

        def run() -> None:
            result: T | None = None
            failed: Exception | None = None
            try:
                result = function(*args)
            except Exception as error:  # noqa: BLE001  # it is raised again where the call was made
                failed = error
            with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                loop.call_soon_threadsafe(ended, result, failed)

        try:
            threading.Thread(target=run, name=self._name, daemon=True).start()
        except BaseException:
            self._places.release()
            raise
        return await answer


async def addresses(calls: Calls, host: str, port: int, family: int = socket.AF_UNSPEC) -> list[tuple[int, str]]:
    """Family and address for each way to a host, in the resolver's order. CheckFailed when there is none."""
    try:
        found: list[Any] = await calls.call(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: it cannot be a name at all
        raise CheckFailed(Reason.NAME, f"cannot find {host}: {error}") from error
    return [(int(kind), str(address[0])) for kind, _, _, _, address in found]
