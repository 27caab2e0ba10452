"""Connections of a receiver over HTTP, from the moment that they are accepted.

They are shared among addresses (`shares`), those that still shake hands included: no address takes all, however many it
opens. A handshake that fails is told and counted, since nothing above ever hears of that client.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import final

from telemetry_collector.config.section import Address
from telemetry_collector.listeners.requests.events import HandshakeFault, RequestEvents
from telemetry_collector.listeners.requests.shares import Shares

CONNECTIONS_MAX = 4_096
"""Connections of one receiver; one address has half of them when it is alone. Further ones are closed at once."""
CONNECTIONS_WAITING_MAX = 1_024
"""Connections that wait to be accepted."""
HANDSHAKE_SECS_MAX = 10.0
PAUSE_SECS = 1.0
"""How long nothing is accepted where the system has no more descriptors or memory for it."""

Begin = Callable[[Callable[[], None]], asyncio.BaseProtocol]
"""Makes the protocol of a connection, which says by the call it is given that the connection has ended."""


@final
class Gate:
    """Accepts connections on an address."""

    def __init__(
        self, receiver: str, tls: ssl.SSLContext | None, events: RequestEvents, connections_max: int = CONNECTIONS_MAX
    ) -> None:
        """`tls` is the server's; None: plain."""
        self._receiver = receiver
        self._tls = tls
        self._events = events
        self._shares = Shares(connections_max)
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        # Bounded by the shares.
        self._beginning: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        """Open ones, with those that shake hands."""
        return self._shares.taken

    async def open(self, address: Address, begin: Begin) -> int:
        """Begins to accept; the port, which the system chooses for 0. OSError when the address cannot be had."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, at in dict.fromkeys(found):
                listening = socket.create_server(at[:2], family=family, backlog=CONNECTIONS_WAITING_MAX)
                self._sockets.append(listening)
                listening.setblocking(False)
        except BaseException:
            self.close()
            raise
        for listening in self._sockets:
            self._accepting.append(asyncio.create_task(self._accept(listening, begin), name=f"gate {self._receiver}"))
        port: int = self._sockets[0].getsockname()[1]
        return port

    def close(self) -> None:
        """Accepts no more, and ends handshakes. Idempotent."""
        for task in (*self._accepting, *self._beginning):
            task.cancel()
        for listening in self._sockets:
            listening.close()
        self._accepting.clear()
        self._sockets.clear()

    async def _accept(self, listening: socket.socket, begin: Begin) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, at = await loop.sock_accept(listening)
            except ConnectionError:  # it ended before it was accepted
                continue
            except OSError as error:
                self._events.not_accepted(self._receiver, error)
                await asyncio.sleep(PAUSE_SECS)
                continue
            client: str = at[0]
            if not self._shares.take(client):
                connection.close()
                self._events.turned_away(self._receiver, client)
                continue
            task = asyncio.create_task(self._begin(connection, client, begin))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)

    async def _begin(self, connection: socket.socket, client: str, begin: Begin) -> None:
        held = True

        def ended() -> None:
            nonlocal held
            if held:
                held = False
                self._shares.give_back(client)

        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: begin(ended),
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_SECS_MAX if self._tls is not None else None,
            )
        except OSError as error:  # ssl's errors are among them
            ended()
            self._events.handshake_failed(self._receiver, client, *_told(error))
        except Exception as error:  # noqa: BLE001  # a defect with one connection must not go unheard
            ended()
            self._events.failed(self._receiver, error)
        except asyncio.CancelledError:
            ended()
            raise


def _told(error: OSError) -> tuple[HandshakeFault, str]:
    """What kind of failure it is, and in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "untrusted", f"its certificate is refused: {error.verify_message}"
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "no_certificate", "it shows no certificate"
    if reason is not None and "ALERT" in reason:
        return "refused_by_client", f"it refuses ours: {reason}"
    if reason is not None:
        return "not_tls", f"it does not speak TLS as is spoken here: {reason}"
    return "left", str(error) or type(error).__name__
