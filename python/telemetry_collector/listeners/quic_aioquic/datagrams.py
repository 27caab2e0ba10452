"""The UDP socket: many datagrams a wake-up.

With UDP_GRO the kernel hands over a run of datagrams of one flow in one system call; together with one transmission a
connection a wake-up that doubles what the listener takes. A wake-up reads a bounded amount: the loop stays fair.

A host may have several addresses. Bound to all of them, the socket answers from the one that was written to: from any
other a client would not take it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from telemetry_collector.config.section import Address
from telemetry_collector.listeners.events import ListenerEvents
from telemetry_collector.listeners.shedding import Shedding
from telemetry_collector.listeners.sockets import Losses, bound
from telemetry_collector.observe.logs import logger

RECEIVES_MAX = 256
"""System calls a wake-up."""

RECEIVE_BYTES_MAX = 512 * 1024
"""Bytes a wake-up, the last call's aside: a few milliseconds of work."""

NEWCOMERS_PER_SEC = 4_000
"""First datagrams that lead to nothing before the kernel sheds."""

# From linux/udp.h and linux/in.h; the socket module does not name them.
_UDP_GRO = 104
_IP_PKTINFO = 8
_IN_PKTINFO = struct.Struct("@i4s4s")  # interface, local address, destination
_DATAGRAM_BYTES_MAX = 65_535
_ANCILLARY_BYTES = socket.CMSG_SPACE(4) + socket.CMSG_SPACE(20)

_log = logger(__name__)

Ancillary = tuple[int, int, bytes]


class Path(NamedTuple):
    """A peer's address, and from which of our own it is to be answered."""

    peer: Any
    """As the system gives it: host and port, for IPv6 flow and scope too."""

    source: Ancillary | None = None
    """What `sendmsg` is told; None where the system has no choice."""

    def __str__(self) -> str:
        return str(Address(self.peer[0], self.peer[1]))


class DatagramSocket:
    """A bound socket that hands each datagram on, and says when a wake-up's are through."""

    def __init__(self, sock: socket.socket, events: ListenerEvents) -> None:
        """`sock` is bound and does not block; it belongs to this object from now on."""
        self._socket = sock
        self._events = events
        self._buffer = bytearray(_DATAGRAM_BYTES_MAX)
        self._view = memoryview(self._buffer)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._losses = Losses(sock)

    @classmethod
    async def bind(
        cls, address: Address, *, receive_buffer_bytes: int, send_buffer_bytes: int, events: ListenerEvents
    ) -> DatagramSocket:
        """Binds to the first address that the host's name stands for. AddressError says what is wrong."""
        sock = await bound(address, receive_buffer_bytes=receive_buffer_bytes, send_buffer_bytes=send_buffer_bytes)
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

    def start(self, received: Callable[[bytes, Path], None], through: Callable[[], None]) -> None:
        """Begins to read on the running loop: `received` for each datagram, then `through` once a wake-up."""
        self._received = received
        self._through = through
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._on_readable)

    def send(self, data: bytes, path: Path) -> None:
        """Sends one datagram. What the system does not take is lost like any other: the transport sends it again."""
        try:
            if path.source is None:
                self._socket.sendto(data, path.peer)
            else:
                self._socket.sendmsg([data], [path.source], 0, path.peer)
        except OSError:
            self._events.datagram_dropped("not_sent")

    def shedding(self) -> Shedding:
        """What lets newcomers through, or sheds them."""
        return Shedding(self._socket, NEWCOMERS_PER_SEC)

    def count_lost(self) -> None:
        """Counts what the system dropped since the last call: the buffer was full, or newcomers were shed."""
        new = self._losses.new()
        if new:
            self._events.datagrams_lost(new)

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
            segment, path = size, Path(address)
            for level, kind, data in ancillary:
                if level == socket.IPPROTO_UDP and kind == _UDP_GRO:
                    (segment,) = struct.unpack_from("@i", data)
                else:
                    path = Path(address, _source(level, kind, data))
            for start in range(0, size, segment or 1):
                self._received(bytes(self._view[start : min(start + segment, size)]), path)
                count += 1
            budget -= size
            if budget <= 0:
                break
        self._events.datagrams_received(count)
        self._through()


def _source(level: int, kind: int, data: bytes) -> Ancillary | None:
    """What to send with an answer to a datagram that came with this."""
    if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
        # The route decides about the interface.
        _, local, _ = _IN_PKTINFO.unpack_from(data)
        return level, kind, _IN_PKTINFO.pack(0, local, bytes(4))
    if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
        # Likewise, but for an address of one link, which means nothing without its interface.
        link_local = data[0] == 0xFE and data[1] & 0xC0 == 0x80
        return level, kind, data if link_local else data[:16] + bytes(4)
    return None
