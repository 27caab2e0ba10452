"""The UDP socket: many datagrams a wake-up.

With UDP_GRO the kernel hands over a run of datagrams of one flow in one system call; together with one transmission a
connection a wake-up that doubles what the listener takes. A wake-up reads a bounded amount: the loop stays fair.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

from telemetry_collector.config.section import Address
from telemetry_collector.errors import AddressError
from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.observe.logs import logger

RECEIVES_MAX = 64
"""System calls a wake-up."""

RECEIVE_BYTES_MAX = 512 * 1024
"""Bytes a wake-up, the last call's aside: a few milliseconds of work."""

# linux/udp.h; the socket module does not name it.
_UDP_GRO = 104
_DATAGRAM_BYTES_MAX = 65_535
_ANCILLARY_BYTES = socket.CMSG_SPACE(4)

_log = logger(__name__)


class DatagramSocket:
    """A bound socket that hands each datagram on, and says when a wake-up's are through."""

    def __init__(self, sock: socket.socket, events: ListenerEvents) -> None:
        """`sock` is bound and does not block; it belongs to this object from now on."""
        self._socket = sock
        self._events = events
        self._buffer = bytearray(_DATAGRAM_BYTES_MAX)
        self._view = memoryview(self._buffer)
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    async def bind(
        cls, address: Address, *, receive_buffer_bytes: int, send_buffer_bytes: int, events: ListenerEvents
    ) -> DatagramSocket:
        """Binds to the first address that the host's name stands for. AddressError says what is wrong."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
            family, kind, protocol, _, name = found[0]
            sock = socket.socket(family, kind, protocol)
        except OSError as error:
            raise AddressError(f"Cannot listen on {address} (server.listen_addr): {error.strerror}.") from error
        try:
            sock.setblocking(False)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(name)
        except OSError as error:
            sock.close()
            raise AddressError(f"Cannot listen on {address} (server.listen_addr): {error.strerror}.") from error
        _size_buffer(sock, socket.SO_RCVBUF, receive_buffer_bytes, "net.core.rmem_max")
        _size_buffer(sock, socket.SO_SNDBUF, send_buffer_bytes, "net.core.wmem_max")
        try:
            sock.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)
        except OSError as error:
            _log.info("no UDP_GRO: datagrams are read one at a time", reason=error.strerror)
        return cls(sock, events)

    @property
    def address(self) -> Address:
        """Where it is bound."""
        host, port = self._socket.getsockname()[:2]
        return Address(host, port)

    def start(self, received: Callable[[bytes, Any], None], through: Callable[[], None]) -> None:
        """Begins to read on the running loop: `received` for each datagram, then `through` once a wake-up."""
        self._received = received
        self._through = through
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._on_readable)

    def send(self, data: bytes, address: Any) -> None:
        """Sends one datagram. What the system does not take is lost like any other: the transport sends it again."""
        try:
            self._socket.sendto(data, address)
        except OSError:
            self._events.datagram_dropped("not_sent")

    def close(self) -> None:
        """Stops reading and closes the socket. Idempotent."""
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._loop = None
        self._socket.close()

    def _on_readable(self) -> None:
        budget = RECEIVE_BYTES_MAX
        count = 0
        for _ in range(RECEIVES_MAX):
            try:
                size, ancillary, flags, address = self._socket.recvmsg_into([self._buffer], _ANCILLARY_BYTES)
            except BlockingIOError:
                break
            except OSError:
                # An ICMP error of something sent before: it says nothing about what is to be read.
                continue
            if flags & socket.MSG_TRUNC:
                self._events.datagram_dropped("truncated")
                continue
            segment = _segment_bytes(ancillary) or size
            for start in range(0, size, segment or 1):
                self._received(bytes(self._view[start : min(start + segment, size)]), address)
                count += 1
            budget -= size
            if budget <= 0:
                break
        self._events.datagrams_received(count)
        self._through()


def _segment_bytes(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_UDP and kind == _UDP_GRO:
            return int(struct.unpack_from("@i", data)[0])
    return 0


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
