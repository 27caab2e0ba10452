"""From an endpoint to a connection that is good: names, addresses, handshake, first reply."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from telemetry_collector.config import Address
from telemetry_collector.errors import AddressError
from telemetry_collector.sender.connection import Connection
from telemetry_collector.sender.over_aioquic import Aioquic
from telemetry_collector.sender.over_unix import start_over_unix
from telemetry_collector.sender.session import Session
from telemetry_collector.sender.settings import Reach, SocketSettings, TransportSettings

ADDRESSES_MAX = 4
"""Addresses of one name that are tried, in the order of the system's resolver."""


class Way(Protocol):
    """One of the transports, with the certificates read and the collector's name known."""

    async def start(self, connection: Connection, family: socket.AddressFamily, address: tuple[str, int]) -> None:
        """Begins a handshake. OSError when there is no way to the address."""


async def dial(endpoint: Address | Path, new_session: Callable[[], Session], settings: Reach) -> Connection:
    """Connects and waits for the first reply; all of it takes `connect_timeout_secs` at most.

    Raises AddressError with the reason when the collector cannot be reached or refuses us, and CertificateError when
    our own files cannot be used.
    """
    if isinstance(settings, SocketSettings):
        return await _dial_agent(new_session, settings)
    assert isinstance(endpoint, Address), "collectors are reached by host and port"
    way = _way(settings, settings.server_name or endpoint.host)
    problem = f"no reply within {settings.connect_timeout_secs:g} s"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(settings.connect_timeout_secs):
            try:
                addresses = await _addresses(endpoint)
            except OSError as error:
                raise AddressError(f"cannot find the collector {endpoint}: {error.strerror or error}") from error
            share = settings.connect_timeout_secs / len(addresses)
            for family, address in addresses:
                connection = Connection(new_session(), settings)
                try:
                    await way.start(connection, family, address)
                    waits = (connection.good, connection.lost)
                    await asyncio.wait(waits, timeout=share, return_when=asyncio.FIRST_COMPLETED)
                except asyncio.CancelledError:
                    connection.shut("given up")
                    raise
                except OSError as error:
                    connection.lose(str(error))
                if connection.good.done() and not connection.lost.done():
                    return connection
                if connection.lost.done():
                    problem = connection.lost.result()
                connection.shut("no reply in time")
                if connection.established:
                    break  # the collector itself refuses us or is silent; another way to it is no help
    raise AddressError(f"cannot connect to the collector {endpoint}: {problem}")


async def _dial_agent(new_session: Callable[[], Session], settings: SocketSettings) -> Connection:
    connection = Connection(new_session(), settings)
    problem = f"no reply within {settings.connect_timeout_secs:g} s"
    try:
        async with asyncio.timeout(settings.connect_timeout_secs):
            await start_over_unix(connection, settings.path)
            await asyncio.wait((connection.good, connection.lost), return_when=asyncio.FIRST_COMPLETED)
        if not connection.lost.done():
            return connection
        problem = connection.lost.result()
    except TimeoutError:
        pass
    except OSError as error:
        problem = error.strerror or str(error)
    except asyncio.CancelledError:
        connection.shut("given up")
        raise
    connection.shut("no reply in time")
    raise AddressError(f"cannot connect to the agent at {settings.path}: {problem}")


async def resolve(host: str, port: int) -> list[Any]:
    """The system's resolver; its answers are as `socket.getaddrinfo` has them."""
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)


async def _addresses(endpoint: Address) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    found = await resolve(endpoint.host, endpoint.port)
    return [(family, (str(address[0]), int(address[1]))) for family, _, _, _, address in found[:ADDRESSES_MAX]]


def _way(settings: TransportSettings, server_name: str) -> Way:
    if settings.transport == "aioquic":
        return Aioquic(settings, server_name)
    # Not every build of the core has it.
    from telemetry_collector.sender.over_quinn import Quinn

    return Quinn(settings, server_name)
