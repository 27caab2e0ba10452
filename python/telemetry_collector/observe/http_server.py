"""One HTTP/1.1 server on one address: what /metrics and the API have in common.

What a client may take is bounded: connections, bytes and number of header fields, bytes of a request's line and body,
the time until a request is complete, and the time until its answer is taken. Every error is JSON,
`{"error": …, "status": …}`, also those of the protocol.
"""

from __future__ import annotations

import asyncio
import json
import os
from http import HTTPStatus
from typing import TYPE_CHECKING, final

from telemetry_collector.errors import AddressError
from telemetry_collector.observe.logs import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

log = logger(__name__)

KEEPALIVE_SECS = 75.0
"""A connection without a whole request is closed after so long: longer than usual scrape intervals."""
ANSWER_SECS_MAX = 30.0
"""A client that has not taken its answer by then loses its connection, and with it the memory that holds the answer."""
CONNECTIONS_MAX = 256
"""Connections open at a time; further ones are answered 503 and closed."""
CONNECTIONS_WAITING_MAX = 64
"""Connections that wait to be accepted; the system refuses further ones."""
STOP_SECS_MAX = 2.0
"""How long stopping waits for answers under way."""
REQUEST_LINE_BYTES_MAX = 8190
HEADER_BYTES_MAX = 8190
"""Of one header field."""
HEADERS_MAX = 64
"""Fields of one request's header."""
SERVER = "telemetry-collector"
"""What answers say of who made them: not what it is made of."""
WORDS_MAX = 200
"""Characters of an error's text."""
BODY_BYTES_MAX = 1024
"""Of a request, unless the application takes more; none here needs one."""


@final
class HttpServer:
    """Serves one application. `start` and `stop` are called on one event loop."""

    def __init__(self, addr: str, port: int, *, purpose: str, port_key: str, addr_key: str) -> None:
        """`purpose` and the configuration's keys are for the error's text."""
        self._addr = addr
        self._port = port
        self._purpose = purpose
        self._keys = (port_key, addr_key)
        self._listening: asyncio.Server | None = None
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """The port listened on: where 0 was asked for, the system's choice once started."""
        return self._port

    @property
    def connections(self) -> int:
        """Open connections."""
        server = self._runner.server if self._runner is not None else None
        return len(server.connections) if server is not None else 0

    async def start(self, app: web.Application) -> None:
        """Begins to listen. AddressError when the address cannot be had."""
        from aiohttp import web

        runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_SECS_MAX)
        await runner.setup()
        assert runner.server is not None, "it was set up"
        loop = asyncio.get_running_loop()
        try:
            self._listening = await loop.create_server(
                _connections(runner.server, loop), self._addr, self._port, backlog=CONNECTIONS_WAITING_MAX
            )
        except OSError as error:
            await runner.cleanup()
            # asyncio's own text repeats the address, so the system's words are taken by number where there is one.
            number = error.errno or 0
            reason = os.strerror(number).lower() if number > 0 else error.strerror or str(error)
            port_key, addr_key = self._keys
            raise AddressError(
                f"cannot listen on {self._addr} port {self._port} for {self._purpose}: {reason}; "
                f"expected a free port in {port_key} and one of this machine's addresses in {addr_key}"
            ) from error
        self._runner = runner
        self._port = self._listening.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stops listening. Idempotent, and safe before `start`."""
        listening, self._listening = self._listening, None
        runner, self._runner = self._runner, None
        if listening is not None:
            listening.close()
        if runner is not None:
            await runner.cleanup()


def error_body(status: int, words: str) -> bytes:
    """What a client is told of an error."""
    return json.dumps({"error": words, "status": status}).encode() + b"\n"


def fault_of(request: web.BaseRequest, error: BaseException | None) -> tuple[int, str] | None:
    """What the client did wrong, status and words, where aiohttp takes that for a fault of ours."""
    if isinstance(error, UnicodeEncodeError) and not request.headers.get("Expect", "").isascii():
        # It puts the header into its answer, and cannot when that is no text.
        return 417, "the header Expect is no text; expected 100-continue"
    return None


class _Refusal(asyncio.Protocol):
    """One connection too many: told so, and closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport), "TCP goes both ways"
        body = error_body(503, f"{CONNECTIONS_MAX} connections are open; come back later")
        head = (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
            f"Retry-After: 1\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        transport.write(head.encode() + body)
        transport.close()


def _connections(server: web.Server, loop: asyncio.AbstractEventLoop) -> Callable[[], asyncio.BaseProtocol]:
    """Makes the protocol of each connection."""
    from aiohttp import web

    class Connection(web.RequestHandler):
        """aiohttp's, but for how it tells errors."""

        __slots__ = ()

        def handle_error(
            self,
            request: web.BaseRequest,
            status: int = 500,
            exc: BaseException | None = None,
            message: str | None = None,
        ) -> web.StreamResponse:
            # What outsiders send is no news; what we do wrong is.
            status, message = fault_of(request, exc) or (status, message)
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                log.error("http_request_failed", path=request.path, exc_info=exc)
                message = "the request could not be answered; the log says why"
            if request.writer.output_size > 0:
                raise ConnectionError("the answer has begun")
            answer = web.Response(status=status, text=message)
            answer.force_close()
            return answer

        async def finish_response(
            self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
        ) -> tuple[web.StreamResponse, bool]:
            if not resp.prepared:
                if resp.status >= HTTPStatus.BAD_REQUEST and resp.content_type != "application/json":
                    resp = _as_json(resp)
                resp.headers["Server"] = SERVER
            try:
                async with asyncio.timeout(ANSWER_SECS_MAX):
                    return await super().finish_response(request, resp, start_time)
            except TimeoutError:
                if self.transport is not None:
                    # Not close(), which waits for what nobody takes.
                    self.transport.abort()
                return resp, True

    def connection() -> asyncio.BaseProtocol:
        if len(server.connections) >= CONNECTIONS_MAX:
            return _Refusal()
        return Connection(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # the documented way to have none
            keepalive_timeout=KEEPALIVE_SECS,
            max_line_size=REQUEST_LINE_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
            max_headers=HEADERS_MAX,
            # A body is thrown away as it came: one that is not what it says it is would be told as a defect of ours.
            auto_decompress=False,
        )

    return connection


def _as_json(plain: web.StreamResponse) -> web.Response:
    from aiohttp import web

    words = plain.text if isinstance(plain, web.Response) else None
    first = next(iter((words or "").splitlines()), "").removeprefix(f"{plain.status}: ")
    body = error_body(plain.status, (first or plain.reason or "error").lower()[:WORDS_MAX])
    answer = web.Response(status=plain.status, body=body, content_type="application/json")
    if "Allow" in plain.headers:
        answer.headers["Allow"] = plain.headers["Allow"]
    if plain.keep_alive is False:
        answer.force_close()
    return answer
