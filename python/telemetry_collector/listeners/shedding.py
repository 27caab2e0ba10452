"""Shedding newcomers in the kernel, when more come than can even be sent away.

A first datagram costs its sender next to nothing, and sending it away some twenty microseconds: a single machine can
send more of them than this process can read, and then what agents send on their open connections is lost in the same
socket's buffer. So beyond a rate the kernel is told to let through only a share of them, drawn by lot, with a filter of
a few instructions on the socket. It looks at no more than the first byte: what belongs to a connection passes
untouched. Of a handshake under way a datagram that begins with an Initial packet may be lost, and is sent again.
"""

from __future__ import annotations

import ctypes
import socket
import struct

from telemetry_collector.observe.logs import logger

ADJUST_SECS = 0.1
"""How often the share is set anew."""

SHARE_MIN = 0.001
"""The least that is let through, so that it shows when the flood is over."""

_log = logger(__name__)

# From linux/filter.h and asm/socket.h.
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_LOAD_BYTE, _LOAD_WORD, _AND, _JUMP_EQUAL, _JUMP_ABOVE, _RETURN = 0x30, 0x20, 0x54, 0x15, 0x25, 0x06
_UDP_HEADER_BYTES = 8
_RANDOM = 0xFFFFF000 + 56
_EVERYTHING = 0x40000
# Long header (the first bit) and packet type (the third and fourth); an Initial's type is 0.
_FORM_AND_TYPE, _INITIAL = 0xB0, 0x80


class Shedding:
    """Lets through what share of first datagrams the rate allows, and everything else."""

    def __init__(self, sock: socket.socket, newcomers_per_sec: int) -> None:
        """Nothing is shed at first. So many first datagrams a second, with what each costs, may lead to nothing."""
        self._socket = sock
        self._per_sec = newcomers_per_sec
        self._arrived = 0
        self.share = 1.0

    def arrived(self, count: int = 1) -> None:
        """First datagrams got through that led to nothing."""
        self._arrived += count

    def came_back(self) -> None:
        """One of those was sent away for a token and has brought it."""
        self._arrived -= 1

    def adjust(self, secs: float) -> None:
        """So many seconds have passed since the last call: sets the share by what got through meanwhile."""
        sent = max(self._arrived, 0) / self.share
        self._arrived = 0
        share = min(1.0, max(self._per_sec * secs / sent, SHARE_MIN)) if sent else 1.0
        # By lot means by chance: a share that was nearly right is left alone, and no flood is over in a moment.
        if self.share / 1.5 < share < self.share * 1.5 and share < 1.0:
            return
        share = min(share, 2 * self.share)
        if share == self.share:
            return
        try:
            self._let_through(share)
        except OSError as error:
            _log.warning("newcomers_not_shed", reason=error.strerror)
            return
        if (share < 1.0) != (self.share < 1.0):
            _log.warning("newcomers_shed" if share < 1.0 else "newcomers_let_in_again", share=round(share, 4))
        self.share = share

    def _let_through(self, share: float) -> None:
        if share >= 1.0:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
            return
        instructions = (
            (_LOAD_BYTE, 0, 0, _UDP_HEADER_BYTES),
            (_AND, 0, 0, _FORM_AND_TYPE),
            (_JUMP_EQUAL, 0, 2, _INITIAL),
            (_LOAD_WORD, 0, 0, _RANDOM),
            (_JUMP_ABOVE, 1, 0, int(share * 0xFFFFFFFF)),
            (_RETURN, 0, 0, _EVERYTHING),
            (_RETURN, 0, 0, 0),
        )
        code = ctypes.create_string_buffer(b"".join(struct.pack("@HBBI", *one) for one in instructions))
        program = struct.pack("@HP", len(instructions), ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
