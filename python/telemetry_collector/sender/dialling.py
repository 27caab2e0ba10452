"""From an endpoint to a connection that is good: names, addresses, handshake, first reply."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

from aioquic.quic.connection import QuicConnection

from telemetry_collector.config import Address
from telemetry_collector.errors import AddressError
from telemetry_collector.sender.connection import Connection, configuration_of
from telemetry_collector.sender.session import Session
from telemetry_collector.sender.settings import TransportSettings

ADDRESSES_MAX = 4
"""Addresses of one name that are tried, in the order of the system's resolver."""

SEND_BUFFER_BYTES = 1024 * 1024


async def dial(endpoint: Address, new_session: Callable[[], Session], settings: TransportSettings) -> Connection:
    """Connects and waits for the first reply; all of it takes `connect_timeout_secs` at most.

    Raises AddressError with the reason when the collector cannot be reached or refuses us, and CertificateError when
    our own files cannot be used.
    """
    configuration = configuration_of(settings, settings.server_name or endpoint.host)
    problem = f"no reply within {settings.connect_timeout_secs:g} s"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(settings.connect_timeout_secs):
            try:
                addresses = await _addresses(endpoint)
            except OSError as error:
                raise AddressError(f"cannot find the collector {endpoint}: {error.strerror or error}") from error
            share = settings.connect_timeout_secs / len(addresses)
            for family, address in addresses:
                connection = await _start(
                    QuicConnection(configuration=configuration), new_session(), settings, family, address
                )
                try:
                    waits = (connection.good, connection.lost)
                    await asyncio.wait(waits, timeout=share, return_when=asyncio.FIRST_COMPLETED)
                except asyncio.CancelledError:
                    connection.shut("given up")
                    raise
                if connection.good.done() and not connection.lost.done():
                    return connection
                if connection.lost.done():
                    problem = connection.lost.result()
                connection.shut("no reply in time")
                if connection.established:
                    break  # the collector itself refuses us or is silent; another way to it is no help
    raise AddressError(f"cannot connect to the collector {endpoint}: {problem}")


async def resolve(host: str, port: int) -> list[Any]:
    """The system's resolver; its answers are as `socket.getaddrinfo` has them."""
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)


async def _addresses(endpoint: Address) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    found = await resolve(endpoint.host, endpoint.port)
    return [(family, (str(address[0]), int(address[1]))) for family, _, _, _, address in found[:ADDRESSES_MAX]]


async def _start(
    quic: QuicConnection,
    session: Session,
    settings: TransportSettings,
    family: socket.AddressFamily,
    address: tuple[str, int],
) -> Connection:
    transport, connection = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Connection(quic, session, settings), family=family, remote_addr=address
    )
    # The default holds a few dozen datagrams; what does not fit would count as lost on the network.
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    connection.start(transport.get_extra_info("peername"))
    return connection
