"""A `Session` over a transport: the handshake's result, timers, what the owner waits for. Decisions are the session's.

```text
owner ─► Connection ─► Transport (aioquic, quinn): bytes on streams, closes
             ▲             │
             └─ told ──────┘ handshaken, received, ended, stopped, closed
```
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from cryptography import x509

from telemetry_collector.errors import CertificateError
from telemetry_collector.model import CloseCode
from telemetry_collector.sender.session import ProtocolViolation, Session
from telemetry_collector.sender.settings import Reach


class Transport(Protocol):
    """What a connection needs of QUIC. Nothing here waits; a closed transport does nothing and tells nothing."""

    def put(self, stream: int, data: bytes, *, finish: bool) -> None:
        """Puts bytes on a stream, which the first ones open."""

    def flush(self) -> None:
        """Sends what was put, and whatever else is due."""

    def close(self, code: int, reason: str) -> None:
        """Says goodbye."""

    def release(self) -> None:
        """Gives back the socket; nothing is sent any more. Idempotent, after `close`."""


class Connection:
    """One connection, told about by three futures and a flag.

    `established`: the handshake is done on our side; the collector may still refuse our certificate. `good`: the first
    reply has come. `finished`: the session was told to finish, and has. `lost`: it is over; the result says why.
    """

    def __init__(self, session: Session, settings: Reach) -> None:
        """Belongs to the running event loop. It comes to life with `start`."""
        self._loop = asyncio.get_running_loop()
        self.session = session
        self.good: asyncio.Future[None] = self._loop.create_future()
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self.finished: asyncio.Future[None] = self._loop.create_future()
        self.established = False
        self._settings = settings
        self._transport: Transport | None = None
        self._pump_timer: asyncio.TimerHandle | None = None
        self._pump_handle: asyncio.Handle | None = None

    def start(self, transport: Transport) -> None:
        """The transport has begun its handshake."""
        self._transport = transport

    def pump(self) -> None:
        """There may be something to send: looks at the end of this round of the event loop."""
        if self._pump_handle is None and not self.lost.done():
            self._pump_handle = self._loop.call_soon(self.pump_now)

    def shut(self, reason: str = "closed") -> None:
        """Closes the connection with NORMAL unless it is lost already, and its socket. Idempotent.

        The closing period is left out: should the close get lost, the collector's idle timeout does its work.
        """
        self.lose(reason)
        if self._transport is not None:
            self._transport.release()

    # ---- from the transport

    def handshaken(self, chain: Callable[[], tuple[x509.Certificate, Sequence[x509.Certificate]]]) -> None:
        """The handshake is done; `chain` gives the collector's verified certificate and its intermediates."""
        if self._settings.judge is not None:
            try:
                self._settings.judge(*chain())
            except CertificateError as error:
                self.lose(str(error))
                return
        self.established = True

    def received(self, stream: int, data: bytes) -> None:
        """A stream brought bytes."""
        try:
            self.session.receive(stream, data, self._loop.time())
        except ProtocolViolation as violation:
            self.lose(str(violation))

    def ended(self, stream: int) -> None:
        """A stream brings nothing more, by its end or a reset."""
        self.session.ended(stream, self._loop.time())

    def stopped(self, stream: int, code: int) -> None:
        """The collector reads a stream no further."""
        self.session.stopped(stream, code, self._loop.time())

    def lose(self, reason: str, code: CloseCode = CloseCode.NORMAL) -> None:
        """It is over, by our decision or because the transport says so."""
        if self.lost.done():
            return
        self.lost.set_result(reason)
        if not self.good.done():
            self.good.cancel()
        for handle in (self._pump_timer, self._pump_handle):
            if handle is not None:
                handle.cancel()
        self._pump_timer = self._pump_handle = None
        if self._transport is not None:
            self._transport.close(code, reason)

    def pump_now(self, now: float | None = None) -> None:
        """Sends what may be sent, and sets the timer for the next look."""
        if self._pump_handle is not None:
            self._pump_handle.cancel()
            self._pump_handle = None
        if self._pump_timer is not None:
            self._pump_timer.cancel()
            self._pump_timer = None
        if self._transport is None:
            return
        if self.established and not self.lost.done():
            now = self._loop.time() if now is None else now
            if self.session.expired(now):
                self.lose("no reply in time", CloseCode.TIMED_OUT)
                return
            for stream, data, finish in self.session.poll(now):
                self._transport.put(stream, data, finish=finish)
            if self.session.good and not self.good.done():
                self.good.set_result(None)
            deadline = self.session.deadline()
            if deadline is not None:
                # The event loop may call a little early; the session is told the time it asked for.
                self._pump_timer = self._loop.call_at(deadline, lambda: self.pump_now(max(deadline, self._loop.time())))
            if self.session.finished and not self.finished.done():
                self.finished.set_result(None)
        self._transport.flush()
