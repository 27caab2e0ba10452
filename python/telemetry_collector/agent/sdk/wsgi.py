"""WSGI middleware: the time of every request, from its arrival to the end of its response.

    app.wsgi_app = MetricsMiddleware(app.wsgi_app, metrics=metrics)                  # Flask
    application = MetricsMiddleware(get_wsgi_application(), metrics=metrics)         # Django

The response's parts pass through one by one as the server asks for them, and its `close` is called. An exception that
reaches it counts as status 500 and goes on. Of other frameworks, `route_of` tells the route.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from telemetry_collector.agent.sdk import requests
from telemetry_collector.agent.sdk.collector import Recorder

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
App = Callable[[Environ, StartResponse], Iterable[bytes]]
RouteOf = Callable[[Environ], str | None]


class MetricsMiddleware:
    """Wraps a WSGI application. `route_of` gives the route's template from the environment, or None."""

    def __init__(self, app: App, metrics: Recorder, *, route_of: RouteOf | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._route_of = route_of or _resolver(app)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        request = _Request(self._metrics, environ, self._route_of)

        def starting(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
            request.status = _number(status)
            return start_response(status, headers, *exc_info)

        try:
            parts = self._app(environ, starting)
        except BaseException:  # SystemExit is how servers end a worker that takes too long
            request.ended(500)
            raise
        if isinstance(parts, list | tuple):
            request.ended()  # it is whole, and the server may look at how many parts there are
            return parts
        return _Parts(parts, request)


class _Request:
    def __init__(self, metrics: Recorder, environ: Environ, route_of: RouteOf) -> None:
        self._metrics = metrics
        self._method = environ.get("REQUEST_METHOD")
        # Frameworks take the environment apart while they serve.
        self._environ = dict(environ)
        self._route_of = route_of
        self._started = time.perf_counter()
        self._open = True
        self.status: int | None = None

    def ended(self, status: int | None = None) -> None:
        """Records, once."""
        if not self._open:
            return
        self._open = False
        secs = time.perf_counter() - self._started
        route = None
        with contextlib.suppress(Exception):  # a path that fits none, or a framework that is not set up
            route = self._route_of(self._environ)
        status = status or self.status or 500
        requests.record(self._metrics, secs, method=self._method, route=route, status=status)


class _Parts:
    """A response on its way."""

    def __init__(self, parts: Iterable[bytes], request: _Request) -> None:
        self._parts = parts
        self._iterator: Iterator[bytes] | None = None
        self._request = request

    def __iter__(self) -> "_Parts":
        return self

    def __next__(self) -> bytes:
        try:
            if self._iterator is None:
                self._iterator = iter(self._parts)
            return next(self._iterator)
        except StopIteration:
            self._request.ended()
            raise
        except BaseException:
            self._request.ended(500)
            raise

    def close(self) -> None:
        """As the server must call it, whether all was sent or not."""
        try:
            close = getattr(self._parts, "close", None)
            if close is not None:
                close()
        finally:
            # An application that is a generator begins its response with its first part.
            self._request.ended(self._request.status or requests.CLIENT_CLOSED)


def _number(status: object) -> int:
    try:
        return int(str(status)[:3])
    except ValueError:
        return 500


def _resolver(app: App) -> RouteOf:
    """How the framework that an application is of finds routes."""
    flask = getattr(app, "__self__", None)
    if hasattr(flask, "url_map"):
        return lambda environ: _flask_route(flask, environ)
    if type(app).__module__.startswith("django."):
        return _django_route
    return lambda _: None


def _flask_route(flask: Any, environ: Environ) -> str | None:
    rule, _ = flask.url_map.bind_to_environ(environ).match(return_rule=True)
    return str(rule.rule)


def _django_route(environ: Environ) -> str | None:
    # Django is there, for the application is one of its own.
    resolve = sys.modules["django.urls"].resolve
    return "/" + str(resolve(environ.get("PATH_INFO") or "/").route)
