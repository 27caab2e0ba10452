"""The UDP socket of a QUIC listener, whichever one: bound, large enough for bursts, and asked what it lost."""

from __future__ import annotations

import asyncio
import socket
import struct

from telemetry_collector.config.section import Address
from telemetry_collector.errors import AddressError
from telemetry_collector.observe.logs import logger

# From linux/in.h and asm/socket.h; the socket module does not name them.
_IP_PKTINFO = 8
_SO_MEMINFO = 55

_log = logger(__name__)


async def bound(address: Address, *, receive_buffer_bytes: int, send_buffer_bytes: int) -> socket.socket:
    """A socket that does not block, bound to the first address that the host's name stands for. AddressError says what
    is wrong; a buffer smaller than wanted is told in the log, with what would make it larger."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, name = found[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _not_to_be_had(address, error) from error
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(name)
        if name[0] in ("0.0.0.0", "::"):
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    except OSError as error:
        sock.close()
        raise _not_to_be_had(address, error) from error
    _size_buffer(sock, socket.SO_RCVBUF, receive_buffer_bytes, "net.core.rmem_max")
    _size_buffer(sock, socket.SO_SNDBUF, send_buffer_bytes, "net.core.wmem_max")
    return sock


class Losses:
    """What the system dropped: the buffer was full, or newcomers were shed."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._counted = 0

    def new(self) -> int:
        """Datagrams since the last call; 0 where the system does not say."""
        try:
            (lost,) = struct.unpack_from("@I", self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36), 32)
        except (OSError, struct.error):
            return 0
        new, self._counted = (lost - self._counted) % 2**32, lost
        return int(new)


def _size_buffer(sock: socket.socket, option: int, wanted: int, setting: str) -> None:
    sock.setsockopt(socket.SOL_SOCKET, option, wanted)
    # The kernel doubles what it is asked for, to have room for its own records, and reports the double.
    given = sock.getsockopt(socket.SOL_SOCKET, option) // 2
    if given < wanted:
        _log.warning(
            "the kernel gives the socket a smaller buffer; bursts may lose datagrams",
            wanted_bytes=wanted,
            given_bytes=given,
            advice=f"sysctl -w {setting}={wanted}",
        )


def _not_to_be_had(address: Address, error: OSError) -> AddressError:
    reason = (error.strerror or str(error)).lower()
    return AddressError(
        f"cannot listen on {address}: {reason}; expected one of this machine's addresses, and a port that is free for "
        "UDP, in server.listen_addr"
    )
