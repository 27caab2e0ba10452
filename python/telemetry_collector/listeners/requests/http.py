"""Requests over HTTP/1.1, with or without TLS, whatever protocol they are of."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from telemetry_collector import _core
from telemetry_collector.config.section import Address
from telemetry_collector.errors import AddressError
from telemetry_collector.listeners.requests.body import (
    PACE,
    BodyTooLarge,
    BodyTooSlow,
    NoRoomForBody,
    Pace,
    read_body,
)
from telemetry_collector.listeners.requests.connection import Connection, text_of
from telemetry_collector.listeners.requests.door import Door, Taken
from telemetry_collector.listeners.requests.events import FAULT, Outcome
from telemetry_collector.listeners.requests.gate import CONNECTIONS_MAX, Gate
from telemetry_collector.listeners.requests.peers import Peer, PeerDenied, Trust, anonymous
from telemetry_collector.observe.logs import logger

log = logger(__name__)

KEEPALIVE_SECS = 120.0
"""A connection without a request for so long is closed; clients send every ten to sixty seconds."""
ENCODING_DER = 2
"""_ssl.ENCODING_DER."""


class Refusal(Exception):
    """A request that ends before any consumer has judged it."""

    def __init__(self, status: int, problem: str, *, ends_connection: bool = False) -> None:
        super().__init__(problem)
        self.status = status
        self.problem = problem
        self.ends_connection = ends_connection


@dataclass(frozen=True, slots=True)
class Asked:
    """What the headers of a request say about its body."""

    form: _core.RequestForm
    encoding: str
    """Its Content-Encoding."""


class HttpProtocol(Protocol):
    """How the requests of a protocol look over HTTP."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Where they are posted."""

    @property
    def others(self) -> Mapping[tuple[str, str], Callable[[web.Request], web.Response]]:
        """What else clients of the protocol ask for: method and path, with the answer."""

    def asked(self, request: web.Request) -> Asked:
        """How the body is to be read. Refusal, or PeerDenied where the request lacks what lets it in."""

    def answer(self, request: web.Request, taken: Taken, /) -> web.Response:
        """The protocol's words for what became of the request."""

    def refusal(self, request: web.BaseRequest, refusal: Refusal, /) -> web.Response:
        """The same where nothing became of it."""


class HttpListener:
    """Listens on one address for one protocol."""

    def __init__(
        self,
        name: str,
        address: Address,
        protocol: HttpProtocol,
        door: Door,
        trust: Trust | None,
        tls: ssl.SSLContext | None,
        pace: Pace = PACE,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        """`trust` judges clients' certificates; None: they show none. `tls` is the server's; None: plain. `pace` is
        what bodies keep to, `connections_max` what all clients may have open together."""
        self.name = name
        self._address = address
        self._protocol = protocol
        self._door = door
        self._trust = trust
        self._tls = tls is not None
        self._gate = Gate(name, tls, door.events, connections_max)
        self._pace = pace
        self._anonymous = anonymous(name)
        self._runner: web.AppRunner | None = None

    @property
    def address(self) -> Address:
        """Where it listens, with the port that the system chose."""
        return self._address

    @property
    def connections(self) -> int:
        """Open connections, with those that shake hands."""
        return self._gate.connections

    async def start(self) -> None:
        """Begins to listen. AddressError when the address cannot be had."""
        app = web.Application()
        for path in self._protocol.paths:
            app.router.add_post(path, self._take)
        for (method, path), answer in self._protocol.others.items():
            app.router.add_route(method, path, _answering(answer))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        served = runner.server
        assert served is not None, "it is set up"
        loop = asyncio.get_running_loop()

        def begin(ended: Callable[[], None]) -> asyncio.BaseProtocol:
            return Connection(
                served,
                missed=self._missed,
                ended=ended,
                loop=loop,
                access_log=None,
                keepalive_timeout=KEEPALIVE_SECS,
                # What is packed is unpacked in the core, within its bound.
                auto_decompress=False,
            )

        try:
            port = await self._gate.open(self._address, begin)
        except OSError as error:
            await runner.cleanup()
            raise AddressError(
                f"cannot listen on {self._address} for {self.name}: {error.strerror or error}; "
                f"expected a free port and one of this machine's addresses in receivers.{self.name}.listen_addr"
            ) from error
        self._runner = runner
        self._address = Address(self._address.host, port)
        log.info("receiver_started", receiver=self.name, addr=str(self._address), tls=self._tls)

    async def stop(self, timeout_secs: float = 5.0) -> None:
        """Stops listening and answers what is under way, for so long. Idempotent, and safe before `start`."""
        runner, self._runner = self._runner, None
        self._gate.close()
        if runner is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_secs):
                    await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        try:
            taken = await self._taken(request)
        except Refusal as refusal:
            response = self._protocol.refusal(request, refusal)
            if refusal.ends_connection:
                response.force_close()
            return response
        return self._protocol.answer(request, taken)

    async def _taken(self, request: web.Request) -> Taken:
        door, name = self._door, self.name
        try:
            peer = self._peer(request)
            asked = self._protocol.asked(request)
        except PeerDenied as error:
            door.events.answered(name, "denied", str(error))
            return Taken("denied", problem=str(error))
        except Refusal as refusal:
            door.events.answered(name, "malformed", refusal.problem)
            raise
        expected = request.content_length or 0
        if expected > door.request_bytes_max:
            return self._too_large()
        client = peer.identity if self._trust is not None else request.remote or ""
        with door.hold(client) as hold:
            # What would find no room in the end need not begin.
            if not hold.fits(expected):
                return door.busy(name)
            try:
                body = await read_body(request.content, hold, door.request_bytes_max, self._pace)
            except BodyTooLarge:
                return self._too_large()
            except NoRoomForBody:
                return door.busy(name)
            except BodyTooSlow as error:
                # 408 would say the same, and of these protocols' clients none sends again what is answered so.
                raise self._ended(503, str(error), "too_slow") from error
            except web.RequestPayloadError as error:
                raise self._ended(400, f"the body breaks HTTP's rules: {error}") from error
            except ConnectionError as error:
                raise self._ended(400, "the client left before the body was whole") from error
            if not hold.begin():
                return door.busy(name)
            try:
                return await door.take(name, asked.form, body, text_of(asked.encoding), peer)
            except Exception as error:
                raise self._failed(error) from error

    def _missed(self, request: web.BaseRequest, status: int, problem: str, error: Exception | None) -> web.Response:
        """The answer to what has come to no handler: another path or method, or no HTTP at all."""
        if error is not None:
            return self._protocol.refusal(request, self._failed(error))
        self._door.events.answered(self.name, "malformed", problem)
        return self._protocol.refusal(request, Refusal(status, problem))

    def _failed(self, error: Exception) -> Refusal:
        """What is said of a defect of ours: clients send again what is answered so; of a 500, OTLP's do not."""
        self._door.events.failed(self.name, error)
        self._door.events.answered(self.name, "failed")
        return Refusal(503, FAULT)

    def _ended(self, status: int, problem: str, outcome: Outcome = "malformed") -> Refusal:
        """What is said of a body that will not be whole; the connection ends with it."""
        self._door.events.answered(self.name, outcome, problem)
        return Refusal(status, problem, ends_connection=True)

    def _too_large(self) -> Taken:
        problem = f"more than {self._door.request_bytes_max} bytes (limits.inflated_bytes_max)"
        self._door.events.answered(self.name, "too_large", problem)
        return Taken("too_large", problem=problem)

    def _peer(self, request: web.Request) -> Peer:
        if self._trust is None:
            return self._anonymous
        transport = request.transport
        tls = transport.get_extra_info("ssl_object") if transport is not None else None
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        if certificate is None:
            raise PeerDenied("no certificate was shown")
        return self._trust.peer_of(certificate, _intermediates(tls))


def _intermediates(tls: Any) -> tuple[bytes, ...]:
    """What the client sent behind its certificate. Python before 3.13 knows it and has no public name for it."""
    chain: Sequence[Any] = getattr(getattr(tls, "_sslobj", None), "get_unverified_chain", list)() or ()
    return tuple(certificate.public_bytes(ENCODING_DER) for certificate in chain[1:])


def _answering(answer: Callable[[web.Request], web.Response]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(request: web.Request) -> web.Response:
        return answer(request)

    return handler


def retry_after(taken: Taken) -> dict[str, str]:
    """The header that says when to come back, in whole seconds as HTTP has it."""
    return {"Retry-After": str(max(1, -(-taken.retry_after_ms // 1_000)))}
