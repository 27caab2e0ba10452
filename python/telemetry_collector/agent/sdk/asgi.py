"""ASGI middleware: the time of every HTTP request, from its arrival to the end of its response.

    app.add_middleware(MetricsMiddleware, metrics=metrics)        # Starlette from 1.7 (older tell no route), FastAPI
    app = MetricsMiddleware(app, metrics=metrics)                 # any other

Messages pass through as they are, one by one, so streaming stays streaming, and tasks that the application still has to
do after a response are not part of it; WebSockets are none of its business. An exception that comes before the end of
the response counts as status 500 and goes on. A client that leaves before its response begins counts as 499, whatever
the application makes of it, and one that leaves later with the status that had been sent.

When the application's lifespan ends, everything is flushed: a server that was ended by a signal, such as uvicorn, ends
by that signal itself then, and nothing that was registered with `atexit` is called.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from telemetry_collector.agent.sdk import requests
from telemetry_collector.agent.sdk.collector import Recorder, flush_all

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class MetricsMiddleware:
    """Wraps an ASGI application."""

    def __init__(self, app: App, metrics: Recorder) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, _flushing(send))
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = requests.CLIENT_CLOSED
        begun = gone = left = recorded = False

        async def receiving() -> Message:
            nonlocal gone
            message = await receive()
            gone |= message["type"] == "http.disconnect" and not begun
            return message

        async def sending(message: Message) -> None:
            nonlocal begun, left, status
            try:
                await send(message)
            except OSError:  # how some servers say that the client has left
                left = True
                raise
            # What is answered to nobody is as if it were not.
            if message["type"] == "http.response.start" and not gone:
                begun, status = True, message["status"]
            if begun and message["type"] == "http.response.body" and not message.get("more_body", False):
                record()

        def record() -> None:
            nonlocal recorded
            if not recorded:
                recorded = True
                # Routers leave what they found in the scope, so this is known only now.
                secs = time.perf_counter() - started
                requests.record(self._metrics, secs, method=scope.get("method"), route=_route(scope), status=status)

        started = time.perf_counter()
        try:
            await self._app(scope, receiving, sending)
        except Exception:
            if not left:
                status = requests.CLIENT_CLOSED if gone else 500
            raise
        finally:
            record()


def _flushing(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            with contextlib.suppress(Exception):  # what the server ends for is more important
                await _flushed()
        await send(message)

    return sending


async def _flushed() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # it is another library's loop, which has nothing else to do any more
        flush_all()
    else:
        await asyncio.to_thread(flush_all)


def _route(scope: Scope) -> str | None:
    """The template that the framework found, below where it is mounted."""
    template = getattr(scope.get("route"), "path", None)
    return template if isinstance(template, str) else None
