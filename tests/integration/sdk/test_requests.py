"""Requests of real servers and frameworks are timed by route and status, and pass as if nobody looked."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django.conf
import django.http
import django.urls
import flask
import pytest
import uvicorn
from django.core.wsgi import get_wsgi_application
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from tests.support.waiting import until

from telemetry_collector.agent.sdk import AgentSocket, MetricCollector, asgi, wsgi
from telemetry_collector.agent.sdk.window import HistogramCell


class Recorded:
    """A collector of metrics that goes nowhere, and what is in its window."""

    def __init__(self, directory: Path) -> None:
        self.metrics = MetricCollector(to=AgentSocket(directory / "nobody.sock"), strict=True)

    def requests(self) -> dict[tuple[str, str, str, str], int]:
        """How many by method, route, status and its class."""
        cells = self.metrics._aggregation.drain().cells("histogram")
        assert {(cell.name, cell.unit) for cell in cells} <= {("api.request", "s")}
        counted = {}
        for cell in cells:
            assert isinstance(cell, HistogramCell)
            tags = dict(cell.tags)
            counted[tags["method"], tags["route"], tags["status"], tags["status_class"]] = sum(cell.counts)
        return counted


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Recorded]:
    recorded = Recorded(tmp_path)
    yield recorded
    recorded.metrics.close(0)


@contextmanager
def serving_wsgi(app: Callable[..., Any]) -> Iterator[http.client.HTTPConnection]:
    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        try:
            yield connection
        finally:
            connection.close()
            server.shutdown()
            thread.join()


def get(connection: http.client.HTTPConnection, path: str, method: str = "GET") -> tuple[int, bytes]:
    connection.request(method, path)
    response = connection.getresponse()
    return response.status, response.read()


def starlette(recorded: Recorded, released: asyncio.Event | None = None) -> Starlette:
    async def user(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.path_params["id"])

    async def fails(_: Request) -> PlainTextResponse:
        raise KeyError("gone")

    async def streams(_: Request) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            if released is not None:
                await released.wait()
            yield b"second"

        return StreamingResponse(parts())

    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    return Starlette(
        routes=[
            Route("/users/{id}", user),
            Route("/fails", fails),
            Route("/streams", streams),
            WebSocketRoute("/echo", echo),
        ],
        middleware=[Middleware(asgi.MetricsMiddleware, metrics=recorded.metrics)],
    )


@asynccontextmanager
async def serving_asgi(app: Starlette) -> AsyncIterator[int]:
    """The port at which uvicorn serves."""
    # Of uvicorn's two parsers the other one lets no methods through that it does not know.
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off", http="h11"))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving


async def test_starlette_tells_routes_and_errors(recorded: Recorded) -> None:
    async with serving_asgi(starlette(recorded)) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for place in range(5):
            assert await asyncio.to_thread(get, connection, f"/users/{place}") == (200, str(place).encode())
        assert (await asyncio.to_thread(get, connection, "/nowhere/7"))[0] == 404
        assert (await asyncio.to_thread(get, connection, "/users/1", "BREW"))[0] == 405
        assert (await asyncio.to_thread(get, connection, "/fails"))[0] == 500
        connection.close()
    assert recorded.requests() == {
        ("GET", "/users/{id}", "200", "2xx"): 5,
        ("GET", "unrouted", "404", "4xx"): 1,
        ("other", "/users/{id}", "405", "4xx"): 1,
        ("GET", "/fails", "500", "5xx"): 1,
    }


async def test_a_stream_of_a_real_server_streams_and_is_timed_to_its_end(recorded: Recorded) -> None:
    released = asyncio.Event()
    async with serving_asgi(starlette(recorded, released)) as port, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /streams HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await reader.readuntil(b"first")
        assert recorded.requests() == {}, "the first part is there while the response goes on"
        released.set()
        assert b"second" in await reader.read()
        writer.close()
    assert recorded.requests() == {("GET", "/streams", "200", "2xx"): 1}


async def test_what_is_done_after_a_response_is_not_part_of_it(recorded: Recorded) -> None:
    released = asyncio.Event()

    async def answers(_: Request) -> PlainTextResponse:
        return PlainTextResponse("all of it", background=BackgroundTask(released.wait))

    middleware = [Middleware(asgi.MetricsMiddleware, metrics=recorded.metrics)]
    async with serving_asgi(Starlette(routes=[Route("/answers", answers)], middleware=middleware)) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        assert (await asyncio.to_thread(get, connection, "/answers"))[0] == 200
        try:
            await until(lambda: recorded.metrics.stats.points_waiting)
            assert recorded.requests() == {("GET", "/answers", "200", "2xx"): 1}
        finally:
            released.set()
            connection.close()
    assert recorded.requests() == {}, "it is recorded once"


async def test_websockets_and_the_lifespan_pass_by(recorded: Recorded) -> None:
    said: list[Any] = []
    heard = iter([{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hello"}])

    async def receive() -> Any:
        return next(heard)

    async def send(message: Any) -> None:
        said.append(message)

    scope = {"type": "websocket", "path": "/echo", "headers": [], "query_string": b"", "subprotocols": []}
    await starlette(recorded)(scope, receive, send)
    assert [message["type"] for message in said] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert said[1]["text"] == "hello"
    assert recorded.requests() == {}


def test_flask_tells_routes_and_errors(recorded: Recorded) -> None:
    app = flask.Flask("test")

    @app.get("/users/<int:number>")
    def user(number: int) -> str:
        return str(number)

    @app.get("/fails")
    def fails() -> str:
        raise KeyError("gone")

    app.wsgi_app = wsgi.MetricsMiddleware(app.wsgi_app, recorded.metrics)  # type: ignore[method-assign]
    with serving_wsgi(app) as connection:
        assert get(connection, "/users/7") == (200, b"7")
        assert get(connection, "/users/8") == (200, b"8")
        assert get(connection, "/nowhere")[0] == 404
        assert get(connection, "/fails")[0] == 500
    assert recorded.requests() == {
        ("GET", "/users/<int:number>", "200", "2xx"): 2,
        ("GET", "unrouted", "404", "4xx"): 1,
        ("GET", "/fails", "500", "5xx"): 1,
    }


def user_view(_request: django.http.HttpRequest, number: int) -> django.http.HttpResponse:
    return django.http.HttpResponse(str(number))


urlpatterns = [django.urls.path("users/<int:number>/", user_view)]


def test_django_tells_routes(recorded: Recorded) -> None:
    if not django.conf.settings.configured:
        django.conf.settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="none", DEBUG=False)
    with serving_wsgi(wsgi.MetricsMiddleware(get_wsgi_application(), recorded.metrics)) as connection:
        assert get(connection, "/users/7/") == (200, b"7")
        assert get(connection, "/nowhere/")[0] == 404
    assert recorded.requests() == {
        ("GET", "/users/<int:number>/", "200", "2xx"): 1,
        ("GET", "unrouted", "404", "4xx"): 1,
    }


class Parts:
    """A response in parts that knows whether it was closed."""

    def __init__(self, *, fails: bool = False) -> None:
        self.closed = 0
        self._left = [b"b", b"a"]
        self._fails = fails

    def __iter__(self) -> Iterator[bytes]:
        while self._left:
            yield self._left.pop()
        if self._fails:
            raise KeyError("gone")

    def close(self) -> None:
        self.closed += 1


def test_a_response_in_parts_passes_part_by_part_and_is_closed(recorded: Recorded) -> None:
    parts = Parts()

    def app(_environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        start_response("201 Created", [])
        return parts

    wrapped = wsgi.MetricsMiddleware(app, recorded.metrics, route_of=lambda environ: environ["PATH_INFO"][:2])
    response = iter(wrapped({"REQUEST_METHOD": "PUT", "PATH_INFO": "/x/1"}, lambda *_: lambda _: None))
    assert next(response) == b"a"
    assert recorded.requests() == {}
    assert list(response) == [b"b"]
    response.close()  # type: ignore[attr-defined]
    assert parts.closed == 1
    assert recorded.requests() == {("PUT", "/x", "201", "2xx"): 1}


def test_what_ends_a_worker_is_recorded_and_goes_on(recorded: Recorded) -> None:
    def ends(_environ: dict[str, Any], _start_response: Callable[..., object]) -> Iterable[bytes]:
        raise SystemExit(1)

    def ends_later(_environ: dict[str, Any], start_response: Callable[..., object]) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"a"
        raise SystemExit(1)

    for app in (ends, ends_later):
        with pytest.raises(SystemExit):
            list(wsgi.MetricsMiddleware(app, recorded.metrics)({}, lambda *_: lambda _: None))
    assert recorded.requests() == {("other", "unrouted", "500", "5xx"): 2}


def test_a_response_that_is_closed_before_it_began_counts_as_499(recorded: Recorded) -> None:
    def app(_environ: dict[str, Any], start_response: Callable[..., object]) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"a"

    wrapped = wsgi.MetricsMiddleware(app, recorded.metrics)
    wrapped({}, lambda *_: lambda _: None).close()  # type: ignore[attr-defined]
    assert recorded.requests() == {("other", "unrouted", "499", "4xx"): 1}
    begun = wrapped({}, lambda *_: lambda _: None)
    assert next(iter(begun)) == b"a"
    begun.close()  # type: ignore[attr-defined]
    assert recorded.requests()["other", "unrouted", "200", "2xx"] == 1


def test_an_error_in_the_middle_of_a_response_counts_as_500(recorded: Recorded) -> None:
    def app(_environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return Parts(fails=True)

    def broken(_environ: dict[str, Any], _start_response: Callable[..., object]) -> Iterable[bytes]:
        raise KeyError("gone")

    def lost(_: dict[str, Any]) -> str:
        raise ValueError("no route")

    with pytest.raises(KeyError):
        list(wsgi.MetricsMiddleware(app, recorded.metrics, route_of=lost)({}, lambda *_: lambda _: None))
    with pytest.raises(KeyError):
        wsgi.MetricsMiddleware(broken, recorded.metrics)({}, lambda *_: lambda _: None)
    assert recorded.requests() == {("other", "unrouted", "500", "5xx"): 2}


async def test_a_request_that_is_given_up_before_its_response_counts_as_499(recorded: Recorded) -> None:
    begun = asyncio.Event()

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    wrapped = asgi.MetricsMiddleware(app, recorded.metrics)
    running = asyncio.ensure_future(wrapped({"type": "http", "method": "GET"}, None, None))  # type: ignore[arg-type]
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert recorded.requests() == {("GET", "unrouted", "499", "4xx"): 1}


@pytest.mark.parametrize(("sent", "status"), [(0, ("499", "4xx")), (1, ("202", "2xx"))])
async def test_a_server_that_fails_to_send_tells_of_the_client(
    recorded: Recorded, sent: int, status: tuple[str, str]
) -> None:
    left = sent

    async def send(_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise ConnectionResetError("the client has left")

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": b"part", "more_body": True})

    wrapped = asgi.MetricsMiddleware(app, recorded.metrics)
    with pytest.raises(ConnectionResetError):
        await wrapped({"type": "http", "method": "GET"}, None, send)  # type: ignore[arg-type]
    assert recorded.requests() == {("GET", "unrouted", *status): 1}


async def test_a_client_that_leaves_before_the_response_counts_as_499(recorded: Recorded) -> None:
    arrived: asyncio.Queue[bool] = asyncio.Queue()

    async def reads(request: Request) -> PlainTextResponse:
        arrived.put_nowait(True)
        await request.body()  # raises where the client leaves
        return PlainTextResponse("all of it")

    async def waits(request: Request) -> PlainTextResponse:
        arrived.put_nowait(True)
        await until_gone(request)
        return PlainTextResponse("to nobody")

    async def until_gone(request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    app = Starlette(
        routes=[Route("/reads", reads, methods=["POST"]), Route("/waits", waits, methods=["POST"])],
        middleware=[Middleware(asgi.MetricsMiddleware, metrics=recorded.metrics)],
    )
    async with serving_asgi(app) as port, asyncio.timeout(20):
        for path in (b"/reads", b"/waits"):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
            await arrived.get()
            writer.transport.abort()
    assert recorded.requests() == {
        ("POST", "/reads", "499", "4xx"): 1,
        ("POST", "/waits", "499", "4xx"): 1,
    }
