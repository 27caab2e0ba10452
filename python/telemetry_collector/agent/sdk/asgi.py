"""ASGI middleware: the time of every HTTP request, from its arrival to the end of its response.

    app.add_middleware(MetricsMiddleware, metrics=metrics)        # Starlette from 1.7 (older tell no route), FastAPI
    app = MetricsMiddleware(app, metrics=metrics)                 # any other

Messages pass through as they are, one by one, so streaming stays streaming; WebSockets and the lifespan are none of its
business. An exception that reaches it counts as status 500 and goes on. A client that leaves before its
response begins counts as 499, whatever the application makes of it.
"""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from telemetry_collector.agent.sdk import requests
from telemetry_collector.agent.sdk.collector import Recorder

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
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = requests.CLIENT_CLOSED
        begun = gone = False

        async def receiving() -> Message:
            nonlocal gone
            message = await receive()
            gone |= message["type"] == "http.disconnect" and not begun
            return message

        async def sending(message: Message) -> None:
            nonlocal begun, status
            # What is answered to nobody is as if it were not.
            if message["type"] == "http.response.start" and not gone:
                begun, status = True, message["status"]
            await send(message)

        started = time.perf_counter()
        try:
            await self._app(scope, receiving, sending)
        except Exception:
            status = requests.CLIENT_CLOSED if gone else 500
            raise
        finally:
            # Routers leave what they found in the scope, so this is known only now.
            secs = time.perf_counter() - started
            requests.record(self._metrics, secs, method=scope.get("method"), route=_route(scope), status=status)


def _route(scope: Scope) -> str | None:
    """The template that the framework found, below where it is mounted."""
    template = getattr(scope.get("route"), "path", None)
    return template if isinstance(template, str) else None
